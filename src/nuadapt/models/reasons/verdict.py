"""What claims say about the flavour class: which class they indicate, and which labels they contradict."""

from __future__ import annotations

from nuadapt.errors import ConfigError, nearest
from nuadapt.events.truth import FLAVOUR_CLASSES
from nuadapt.models.reasons.claims import Claims

#: A label is contradicted by claims that hold all values of one of its rows. A NuMu CC event may have a muon too
#: short to be told from a pion, so the missing muon alone does not contradict it.
CONTRADICTIONS: dict[str, tuple[dict[str, str], ...]] = {
    "nue_cc": (
        {"shower": "absent"},  # the electron showers
        {"muon_track": "present"},  # only a muon neutrino makes a muon at the vertex
        {"shower_gap": "displaced"},  # a photon, unless a photon outshines the electron
    ),
    "numu_cc": (
        {"tracks": "zero"},  # the muon is charged
        {"muon_track": "absent", "shower_gap": "attached"},  # looks like an electron and not like a muon
    ),
    "nc": (
        {"muon_track": "present"},
        {"shower_gap": "attached"},  # photons start a shower 18 cm from the vertex on average
    ),
}
#: The class that claims indicate: the first row all of whose values they hold, unless they contradict that class.
INDICATIONS: tuple[tuple[dict[str, str], str], ...] = (
    ({"shower_gap": "attached"}, "nue_cc"),
    ({"muon_track": "present"}, "numu_cc"),
    ({"muon_track": "absent", "shower": "absent"}, "nc"),
    ({"muon_track": "absent", "shower_gap": "displaced"}, "nc"),
)


def contradicts(claims: Claims, label: str) -> bool:
    """Whether the claims speak against the class ``label`` by a row of :data:`CONTRADICTIONS`.

    >>> from nuadapt.models.reasons.parser import parse_reason
    >>> contradicts(parse_reason("A shower attached to the vertex and no long track."), "numu_cc")
    True

    Raises:
        ConfigError: no such class.
    """
    if label not in CONTRADICTIONS:
        raise ConfigError(f"no class '{label}' to compare a reason with", expected=nearest(label, FLAVOUR_CLASSES))
    return any(_holds(claims, row) for row in CONTRADICTIONS[label])


def indicated(claims: Claims) -> str | None:
    """The class that the claims point to, or None where they do not decide."""
    label = next((label for row, label in INDICATIONS if _holds(claims, row)), None)
    return None if label is None or contradicts(claims, label) else label


def _holds(claims: Claims, row: dict[str, str]) -> bool:
    return all(getattr(claims, name) == value for name, value in row.items())
