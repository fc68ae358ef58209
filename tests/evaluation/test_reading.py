"""How tuples are read for a model: as for the events of its training, or with a word about it."""

from __future__ import annotations

from nuadapt.evaluation.reading import differences, other_maps, remarks, settings_of_store, settings_of_training
from nuadapt.evaluation.stand_in import STAND_IN
from nuadapt.events.pixelmap import MapSpec

MINERVA = {"tree": "MasterAnaDev", "frame": "beam", "merging": "energy", "step": 20_000, "interaction_types": []}


def run(**settings: object) -> dict[str, object]:
    return {"data": {"reading": {"minerva": MINERVA | settings}}}


def store(**settings: object) -> dict[str, object]:
    return {"stage": "ingest", "config": {"format": "minerva", "minerva": MINERVA | settings}}


def test_only_what_shapes_tokens_counts() -> None:
    assert settings_of_training(run()) == settings_of_store(store()) == {"frame": "beam", "merging": "energy"}
    assert differences(run(step=5, tree="other"), store()) == []


def test_tokens_that_are_built_differently_are_said() -> None:
    (sentence,) = differences(run(), store(merging="number", frame="detector"))
    assert "read with frame=detector, merging=number" in sentence
    assert "training with frame=beam, merging=energy" in sentence


def test_nothing_is_said_of_what_is_not_known() -> None:
    for training in ({}, {"data": {"fingerprint": "f"}}):
        assert settings_of_training(training) is None
        assert differences(training, store(merging="number")) == []
    assert differences(run(), {"stage": "simulate minerva", "config": {"beam": {}}}) == []


def test_the_stand_in_is_said_to_be_one() -> None:
    assert remarks({}, {"stage": "simulate minerva"}) == {"remarks": [STAND_IN]}
    assert remarks(run(), store()) == remarks({}, {"stage": "simulate lartpc"}) == {}
    assert len(remarks(run(frame="detector"), store())["remarks"]) == 1


def test_maps_of_another_size_are_said_to_be_dangerous() -> None:
    training = {"spec": MapSpec().as_dict()}
    assert other_maps(training, MapSpec()) == other_maps({}, MapSpec()) == other_maps(training, None) == []
    (finer,) = other_maps(training, MapSpec(pitch=(0.4, 0.4)))
    assert "512 x 512 pixels of 0.4 x 0.4 cm" in finer
    assert "fail" not in finer
    (larger,) = remarks(training, {}, MapSpec(shape=(640, 640)))["remarks"]
    assert "640 x 640 pixels of 0.5 x 0.5 cm, those of the model's training 512 x 512" in larger
    assert "can fail altogether" in larger


def test_grey_levels_for_a_model_of_energies_are_told() -> None:
    of_energies, of_greys = ({"spec": MapSpec(value_unit=unit).as_dict()} for unit in ("GeV", "grey"))
    (told,) = other_maps(of_energies, MapSpec(value_unit="grey"))
    assert "scale=linear" in told
    (other,) = other_maps(of_greys, MapSpec(value_unit="GeV"))
    assert "hold energies" in other
    assert other_maps(of_energies, MapSpec(value_unit="ke")) == []  # charge is brought to the scale of energy
    assert other_maps(of_greys, MapSpec(value_unit="grey")) == []
