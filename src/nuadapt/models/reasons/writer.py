"""Claims into a short reason in words. The phrases are data: ``phrasings.yaml``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import yaml

from nuadapt.errors import ConfigError, DataError, nearest
from nuadapt.events.truth import FLAVOUR_CLASSES, FLAVOUR_TITLES
from nuadapt.models.reasons.claims import Claims
from nuadapt.models.reasons.verdict import contradicts, indicated

#: Words and signs of a reason, at most: keeps it within 45 tokens of SmolLM2, which splits "muon" and some others.
LONGEST = 34
#: A reason that is too long is drawn again, at most this often.
MOST_DRAWS = 200
#: Claims that decide between the classes are always written, the others with this probability.
OFTEN = {"tracks": 0.7, ("michel", "present"): 0.8, ("michel", "absent"): 0.3}
OWN_SENTENCE = 0.3  # share of track ends and shower gaps in clear reasons that get a sentence of their own
LISTED = 0.3  # share of undecided reasons that list what is seen instead of sorting it by class
CONCLUDING = 0.7  # share of clear reasons that end with what they mean
#: Claims that speak for or against a class when the whole does not decide.
SPEAKS = {
    ("muon_track", "present"): ("for", "numu_cc"),
    ("muon_track", "absent"): ("against", "numu_cc"),
    ("shower_gap", "attached"): ("for", "nue_cc"),
    ("shower_gap", "displaced"): ("for", "nc"),
    ("shower", "absent"): ("against", "nue_cc"),
    ("michel", "present"): ("for", "numu_cc"),
}
_IT = re.compile(r"\bit\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Part:
    """One thing to say: a noun phrase, perhaps a sentence more about it, and what it speaks for or against."""

    thing: str
    sentence: str = ""
    speaks: tuple[str, str] | None = None


@cache
def phrasings() -> dict[str, Any]:
    """The phrases by claim type and value, and the frames around them."""
    text = (resources.files("nuadapt.models.reasons") / "phrasings.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def write_reason(claims: Claims, label: str, rng: np.random.Generator) -> str:
    """One to three short sentences that make some of the ``claims``, among them all that decide.

    ``label`` (a name of FLAVOUR_CLASSES) chooses the wording only. Where the claims indicate it, the reason may end
    with what they mean; else it says what speaks for and against each class. At most 45 tokens of SmolLM2.

    Raises:
        ConfigError: no such class.
        DataError: claims that state nothing, or phrases that are all too long.
    """
    if label not in FLAVOUR_CLASSES:
        raise ConfigError(f"no class '{label}' to give a reason for", expected=nearest(label, FLAVOUR_CLASSES))
    if not claims.stated():
        raise DataError("there is no claim to make a reason of", expected="at least one claim about the event")
    is_clear = indicated(claims) == label
    compose = _clear if is_clear else _weighed
    for _ in range(MOST_DRAWS):
        sentences = compose(_parts(claims, rng, OWN_SENTENCE if is_clear else 0.0), claims, label, rng)
        text = " ".join(sentences)
        if len(sentences) <= 3 and len(re.findall(r"\w+|[^\w\s]", text)) <= LONGEST:
            return text
    raise DataError(f"no reason for {claims} is short enough", expected=f"phrases that leave room for {LONGEST} words")


def _one_of(rng: np.random.Generator, *path: str) -> str:
    """A phrase from the list at ``path``."""
    found: Any = phrasings()
    for name in path:
        found = found[name]
    return str(found[int(rng.integers(len(found)))])


def _parts(claims: Claims, rng: np.random.Generator, own_sentence: float) -> list[_Part]:
    """What to say, in the order to say it; a detail gets its own sentence with this probability."""
    parts = []
    if claims.muon_track is not None:
        parts.append(_with_detail(claims, ("muon_track", "track_length", "track_end"), rng, own_sentence))
    if claims.shower is not None:
        parts.append(_with_detail(claims, ("shower", "shower_size", "shower_gap"), rng, own_sentence))
    rest = [(name, str(value)) for name, value in claims.stated().items() if name in ("tracks", "michel")]
    chosen = [item for item in rest if rng.random() < OFTEN.get(item, OFTEN.get(item[0], 1.0))]
    if not parts and not chosen:
        chosen = rest
    parts += [_Part(_one_of(rng, *item), speaks=SPEAKS.get(item)) for item in chosen]
    return [parts[i] for i in rng.permutation(len(parts))]


def _with_detail(claims: Claims, names: tuple[str, str, str], rng: np.random.Generator, own_sentence: float) -> _Part:
    """The muon-like track or the shower (presence, kind, tail) as one part."""
    presence, kind, tail = ((name, getattr(claims, name)) for name in names)
    thing = _one_of(rng, *(kind if kind[1] is not None else presence))
    speaks = SPEAKS.get(tail, SPEAKS.get(presence))
    if tail[1] is None:
        return _Part(thing, speaks=speaks)
    if rng.random() < own_sentence:
        return _Part(thing, _one_of(rng, f"{tail[0]}_sentence", tail[1]), speaks)
    return _Part(f"{thing} {_one_of(rng, *tail)}", speaks=speaks)


def _listed(parts: list[_Part], rng: np.random.Generator) -> str:
    """``a, b and c``."""
    things = [p.thing for p in parts]
    if len(things) == 1:
        return things[0]
    contrast = things[-1].startswith("no ") != things[-2].startswith("no ")
    last = "but" if contrast and rng.random() < 0.5 else "and"
    return f"{', '.join(things[:-1])} {last} {things[-1]}"


def _clear(parts: list[_Part], _: Claims, label: str, rng: np.random.Generator) -> list[str]:
    """A list of what is seen, and often what it means."""
    sentences = _about(parts, rng, "listing")
    return [*sentences, _one_of(rng, "conclusion", label)] if rng.random() < CONCLUDING else sentences


def _about(parts: list[_Part], rng: np.random.Generator, frame: str, **names: str) -> list[str]:
    """One sentence that lists ``parts``, then their own sentences; what ``it`` means stands right before it."""
    ordered = sorted(parts, key=lambda p: bool(_IT.search(p.sentence)))
    listing = _one_of(rng, frame).format(things=_listed(ordered, rng), **names)
    return [listing, *(p.sentence for p in reversed(ordered) if p.sentence)]


def _weighed(parts: list[_Part], claims: Claims, label: str, rng: np.random.Generator) -> list[str]:
    """What speaks for and against each class, or a list and which other class remains possible."""
    if all(p.speaks is None for p in parts) or rng.random() < LISTED:
        others = [c for c in FLAVOUR_CLASSES if c != label and not contradicts(claims, c)] or [label]
        other = others[int(rng.integers(len(others)))]
        return [*_about(parts, rng, "listing"), _one_of(rng, "doubt").format(title=FLAVOUR_TITLES[other])]
    sentences = [
        text
        for part in parts
        if part.speaks is not None
        for text in _about([part], rng, part.speaks[0], title=FLAVOUR_TITLES[part.speaks[1]])
    ]
    silent = [p for p in parts if p.speaks is None]
    return sentences + (_about(silent, rng, "besides") if silent else [])
