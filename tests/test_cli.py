"""The command line through its real parser and entry point."""

from __future__ import annotations

import sys

import pytest

import nuadapt
from nuadapt.cli import main

COMMANDS = [
    ["simulate", "lartpc"],
    ["simulate", "minerva"],
    ["simulate", "jets"],
    ["ingest"],
    ["export"],
    ["info"],
    ["validate", "store"],
    ["validate", "simulation"],
    ["train"],
    ["pretrain"],
    ["calibrate"],
    ["evaluate"],
    ["predict"],
    ["model-info"],
    ["report"],
    ["serve"],
    ["reproduce"],
]


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command line; returns (exit code, standard output, standard error)."""

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nuadapt", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return call


def one_paragraph(text: str) -> str:
    """The message after ``nuadapt:``; fails if there is a traceback or more than one paragraph."""
    assert "Traceback" not in text
    message = text[text.index("nuadapt: ") :].strip()
    assert "\n\n" not in message
    return message


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(run, command):
    code, out, _ = run(*command, "--help")
    assert code == 0
    assert "Usage" in out


def test_version(run):
    code, out, _ = run("--version")
    assert (code, out.strip()) == (0, f"nuadapt {nuadapt.__version__}")


def test_a_misspelt_command_names_the_nearest(run):
    code, _, err = run("trian")
    assert code == 2
    assert "train" in err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["beam.cc_fractoin=0.5"], "did you mean 'cc_fraction'"),
        (["bean.cc_fraction=0.5"], "did you mean 'beam'"),
        (["beam.cc_fraction=2"], "0 to 1"),
        (["beam.cc_fraction=many"], "does not fit"),
        (["beam.spectrum=unifrom"], "uniform"),
        (["beam.flavours={16: 1}"], "12, -12, 14 or -14"),
        (["readout.signal=volts"], "energy, charge_box or charge_birks"),
        (["cc_fraction"], "key=value"),
    ],
)
def test_wrong_simulation_settings_get_one_paragraph(run, tmp_path, words, expected):
    code, _, err = run("simulate", "lartpc", "--events", 1, "--out", tmp_path / "f.h5", *words)
    assert code == 2
    assert expected in one_paragraph(err)
    assert not (tmp_path / "f.h5").exists()


@pytest.mark.parametrize("number", [0, -3])
def test_an_impossible_number_of_events(run, tmp_path, number):
    code, _, err = run("simulate", "lartpc", f"--events={number}", "--out", tmp_path / "f.h5")
    assert code == 2
    assert "at least 1" in one_paragraph(err)


def test_bad_files_get_one_paragraph(run, tmp_path):
    wrong = tmp_path / "wrong.h5"
    wrong.write_bytes(b"this is not HDF5")
    (tmp_path / "empty.h5").touch()
    for path, reason in [(wrong, "not an HDF5"), (tmp_path / "empty.h5", "empty"), (tmp_path / "none.h5", "no such")]:
        for command in (["info"], ["validate", "store"]):
            code, _, err = run(*command, path)
            assert code == 2
            assert reason in one_paragraph(err)


def test_a_missing_settings_file(run, tmp_path):
    code, _, err = run(
        "simulate", "lartpc", "--events", 1, "--out", tmp_path / "f.h5", "--config", tmp_path / "no.yaml"
    )
    assert code == 2
    assert "no.yaml" in one_paragraph(err)


def test_simulate_info_validate(run, tmp_path):
    path = tmp_path / "f.h5"
    code, out, err = run("simulate", "lartpc", "--events", 3, "--out", path, "--workers", 1, "readout.crop=64")
    assert (code, "3 events" in out) == (0, True), err
    code, out, _ = run("info", path)
    assert code == 0
    assert "64 x 64 pixels of 0.5 x 0.5 cm" in out
    assert run("validate", "store", path)[0] == 0
    code, _, err = run("simulate", "lartpc", "--events", 3, "--out", path, "--workers", 1, "readout.crop=64")
    assert code == 2
    assert "finished already" in one_paragraph(err)


def test_an_unwritable_place(run, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    code, _, err = run("simulate", "lartpc", "--events", 1, "--out", tmp_path / "file" / "f.h5", "--workers", 1)
    assert code == 2
    assert "cannot write" in one_paragraph(err)


def test_model_info_by_tower(run):
    code, out, _ = run("model-info", "smolvlm-256m", "--scope", "text", "--rank", 16)
    assert code == 0
    assert "256,484,928" in out
    assert "4,884,480" in out  # twice as many as at rank 8
    assert "model.text_model.layers.*.self_attn.q_proj" in out
    assert "model.vision_model" not in out


def test_model_info_of_a_network_without_adapters(run):
    code, out, _ = run("model-info", "siamese-cnn")
    assert code == 0
    assert "3,360,803" in out
    code, _, err = run("model-info", "siamese-cnn", "--rank", 8)
    assert code == 2
    assert "trains all its parameters" in one_paragraph(err)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["llama-3.2"], "did you mean 'llama-3.2-11b-vision'"),
        (["smolvlm-256m", "--rank", 0], "at least 1"),
        (["smolvlm-256m", "--scope", "vison"], "vision"),
        (["none.yaml"], "none.yaml"),
    ],
)
def test_model_info_of_what_is_not_there(run, words, expected):
    code, _, err = run("model-info", *words)
    assert code == 2
    assert expected in err
    assert "Traceback" not in err


def test_wrong_jets_and_pretrainings_are_explained(run, tmp_path):
    code, _, err = run("simulate", "jets", "--out", tmp_path / "jets.h5", "radus=0.4")
    assert code == 2
    assert "radius" in one_paragraph(err)
    code, _, err = run("simulate", "jets", "--out", tmp_path / "jets.h5", "classes=[quark, higgs]")
    assert code == 2
    assert "gluon" in one_paragraph(err)
    code, _, err = run("pretrain", "pion-smoke", "--data", tmp_path / "jets.h5", "--out", tmp_path / "run")
    assert code == 2
    assert "pet2-small-pretraining" in one_paragraph(err)
    assert not list(tmp_path.iterdir())
