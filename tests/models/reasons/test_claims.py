"""Claims and what visible truth supports."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nuadapt.errors import ConfigError, DataError
from nuadapt.events.batch import EventBatch, Particles
from nuadapt.models.reasons.claims import PARENT, REACHES_MUON_LIKE, Claims, Presence, claims_of_truth
from nuadapt.models.reasons.verdict import CONTRADICTIONS, INDICATIONS, contradicts, indicated

#: An event in which everything is known and nothing is there but one short track.
PLAIN = {
    "deposited_energy": 0.05,
    "map_fraction": 1.0,
    "muon_track_length": np.nan,
    "muon_contained": -1,
    "shower_energy": np.nan,
    "shower_gap": np.nan,
    "n_tracks": 1,
    "n_showers": 0,
    "n_michel": 0,
}
MUON = {"deposited_energy": 0.5, "muon_track_length": 200.0, "muon_contained": 0}
SHOWER = {"deposited_energy": 0.5, "shower_energy": 0.45, "shower_gap": 0.1, "n_showers": 1}


def stated(particles: Particles | None = None, pixel: float = 0.0, **changes: Any) -> dict[str, str]:
    """Claims of one event that differs from PLAIN."""
    columns = {"run": [1], "subrun": [0], "event": [1], "source": [0]}
    columns |= {name: [value] for name, value in {**PLAIN, **changes}.items()}
    batch = EventBatch.make(columns, ("made up",), particles)
    return {name: str(value) for name, value in claims_of_truth(batch, pixel)[0].stated().items()}


@pytest.mark.parametrize(("pixel", "edge"), [(0.5, 3.0), (1.0, 3.0), (2.0, 6.0), (4.0, 12.0)])
def test_coarser_pixels_show_wider_gaps_only(pixel: float, edge: float) -> None:
    assert "shower_gap" not in stated(**{**SHOWER, "shower_gap": edge - 0.1}, pixel=pixel)
    assert stated(**{**SHOWER, "shower_gap": edge}, pixel=pixel)["shower_gap"] == "displaced"


def hadron(pdg: int, mass: float, kinetic: float) -> Particles:
    energy = mass + kinetic
    return Particles.from_lists([np.array([pdg])], [np.array([[0, 0, np.sqrt(energy**2 - mass**2), energy]])])


def test_plain_event() -> None:
    assert stated() == {"muon_track": "absent", "shower": "absent", "michel": "absent", "tracks": "one"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (MUON, {"muon_track": "present", "track_length": "long", "track_end": "exiting"}),
        ({**MUON, "muon_track_length": 99.0}, {"muon_track": "present", "track_length": "medium", "track_end": None}),
        ({**MUON, "muon_track_length": 100.0}, {"track_length": "long", "track_end": None}),  # may end at a wall
        ({**MUON, "muon_contained": 1}, {"track_end": "contained"}),
        ({**MUON, "muon_track_length": 49.0}, {"muon_track": None, "track_length": None, "track_end": None}),
        ({"muon_track_length": 20.0, "muon_contained": 1}, {"muon_track": "absent", "track_end": None}),
        ({"deposited_energy": 0.2}, {"muon_track": None}),  # 95 cm of a pion would fit
        ({"deposited_energy": 0.2, "map_fraction": 0.5}, {"muon_track": "absent"}),
        ({"n_tracks": 0, "deposited_energy": 5.0}, {"muon_track": "absent", "tracks": "zero"}),
        (SHOWER, {"muon_track": "absent", "shower": "present", "shower_size": "large", "shower_gap": "attached"}),
        ({**SHOWER, "shower_energy": 0.39}, {"muon_track": None, "shower_size": "small"}),
        ({**SHOWER, "shower_energy": 0.09}, {"shower": None, "shower_size": None, "shower_gap": None}),
        ({**SHOWER, "shower_gap": 2.0}, {"shower": "present", "shower_gap": None}),
        ({**SHOWER, "shower_gap": 3.0}, {"shower_gap": "displaced"}),
        ({"n_michel": 2}, {"michel": "present"}),
        ({"n_tracks": 4}, {"tracks": "few", "michel": "absent"}),
        ({"n_tracks": 5, "n_michel": 1}, {"tracks": "many", "michel": None}),
        ({**SHOWER, "n_michel": 1}, {"michel": None}),
    ],
)
def test_edges_of_the_classes(changes: dict[str, Any], expected: dict[str, str | None]) -> None:
    found = stated(**changes)
    assert {name: found.get(name) for name in expected} == expected


@pytest.mark.parametrize(("pdg", "mass"), [(211, 0.13957), (-321, 0.49368), (2212, 0.93827)])
def test_a_hadron_that_may_look_like_a_muon_forbids_the_claim(pdg: int, mass: float) -> None:
    needed = REACHES_MUON_LIKE[abs(pdg)]
    far, near = hadron(pdg, mass, needed * 1.01), hadron(pdg, mass, needed * 0.99)
    assert "muon_track" not in stated(far, deposited_energy=1.0)
    assert stated(near, deposited_energy=1.0)["muon_track"] == "absent"


def test_neutral_and_light_particles_are_no_tracks() -> None:
    assert stated(hadron(2112, 0.93957, 2.0), deposited_energy=1.0)["muon_track"] == "absent"


def test_csda_ranges_behind_the_reach(shared_data: Any) -> None:
    """Range 50 cm from the published tables; mesons by range / mass = f(energy / mass)."""
    path = shared_data.parent / "reference" / "csda_range_lar.csv"
    if not path.exists():
        pytest.skip("the table of ranges is not beside the sample files")
    lines = [line.split(",") for line in path.read_text().splitlines() if line.startswith(("muon", "proton"))]
    for pdg, kind, scale in ((2212, "proton", 1.0), (211, "muon", 139.57 / 105.658), (321, "muon", 493.68 / 105.658)):
        energy, reach = np.array([[float(x) for x in line[1:3]] for line in lines if line[0] == kind]).T
        grams = 50.0 * 1.396 / scale  # g/cm2
        kinetic = scale * np.exp(np.interp(np.log(grams), np.log(reach), np.log(energy))) * 1e-3
        assert REACHES_MUON_LIKE[pdg] == pytest.approx(kinetic, rel=0.01)


def test_unknown_columns_claim_nothing() -> None:
    batch = EventBatch.make({"run": [1], "subrun": [0], "event": [1], "source": [0], "nu_pdg": [14]}, ("a",))
    assert claims_of_truth(batch) == [Claims()]


def test_events_without_truth_are_an_error() -> None:
    batch = EventBatch.make({"run": [1], "subrun": [0], "event": [1], "source": [0]}, ("a",), has_truth=False)
    with pytest.raises(DataError, match="muon_track_length"):
        claims_of_truth(batch)


@pytest.mark.parametrize("name", PARENT)
def test_details_need_what_they_are_about(name: str, all_claims: list[Claims]) -> None:
    value = next(c for c in all_claims if getattr(c, name) is not None).stated()[name]
    for parent in (None, Presence.ABSENT):
        with pytest.raises(DataError, match=name):
            Claims(**{name: value, PARENT[name]: parent})  # type: ignore[arg-type]


def test_contradictions_name_claims_that_exist(all_claims: list[Claims]) -> None:
    for row in [r for rows in CONTRADICTIONS.values() for r in rows] + [r for r, _ in INDICATIONS]:
        assert any(all(getattr(c, k) == v for k, v in row.items()) for c in all_claims), row


def test_what_is_indicated_is_never_contradicted(all_claims: list[Claims]) -> None:
    found = {indicated(c) for c in all_claims}
    assert found == {"nue_cc", "numu_cc", "nc", None}
    assert not [c for c in all_claims if (label := indicated(c)) is not None and contradicts(c, label)]


def test_verdicts_by_hand() -> None:
    case = SimpleNamespace(
        electron=Claims(shower=Presence.PRESENT, shower_gap="attached", muon_track=Presence.ABSENT),  # type: ignore[arg-type]
        muon=Claims(muon_track=Presence.PRESENT, shower=Presence.ABSENT),
        nothing=Claims(muon_track=Presence.ABSENT, shower=Presence.ABSENT),
    )
    wrong = {
        name: [label for label in CONTRADICTIONS if contradicts(claims, label)] for name, claims in vars(case).items()
    }
    assert wrong == {"electron": ["numu_cc", "nc"], "muon": ["nue_cc", "nc"], "nothing": ["nue_cc"]}
    assert [indicated(c) for c in vars(case).values()] == ["nue_cc", "numu_cc", "nc"]
    with pytest.raises(ConfigError, match="did you mean 'nc'"):
        contradicts(Claims(), "ncc")
