"""A reason in words back into claims, by a small grammar of what people and language models write.

A text is cut into clauses, a clause into pieces with one noun each (muon, track, shower, gap, Michel electron). The
words around the noun make claims; a piece without a noun goes on about the last one. Suppositions ("would",
"perhaps") claim nothing, unknown words are passed over, and "no" reaches over its noun phrase and over "or".
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from nuadapt.models.reasons.claims import (
    GAP_ATTACHED,
    GAP_DISPLACED,
    MUON_LIKE,
    PARENT,
    SHOWER_LARGE,
    SHOWER_SEEN,
    TRACK_LONG,
    TRACKS_MANY,
    Claims,
    Multiplicity,
    Presence,
    ShowerGap,
    ShowerSize,
    TrackEnd,
    TrackLength,
)

_ADJECTIVES = "long|straight|thin|thick|clean|clear|medium|short|large|strong|bright|small|weak|faint|energetic|dense"
#: Rewritten before anything is read: names that hold nouns of other things, and spellings.
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"[\u2010-\u2015\u2212]", "-"),
        (r"[\u2018\u2019]", "'"),
        (r"\bcannot\b", "can not"),
        (r"n't\b", " not"),
        (r"\b(anti-?)?(electron|muon|tau)[ -](anti-?)?neutrinos?\b", "neutrino"),
        (r"\bn(u|eutrino)[ -]*(mu|e)\b", "neutrino"),
        (r"(?<!decay )(?<!michel )\b(muon|electron)s? (or|nor) (muon|electron)s?\b", "lepton"),
        (r"\bbetween (it|the [\w-]+) and (it|the [\w-]+)\b", "to the vertex"),
        (
            r"\b(at|near|from) (the|a|its|one) ((muon-like|muon|track)( track)?('s)? )?end"
            r"( of (the|a|its) [\w -]*?(track|muon))?\b",
            "",
        ),
        (r"\b(minimum|minimally)[ -]ioni[sz]ing (particle )?", "muon-like "),
        (rf"\b({_ADJECTIVES})(?:,? and|, but|,) (?=(?:{_ADJECTIVES})\b)", r"\1 "),
        (r"\bhalf a met(re|er)\b", "50 cm"),
        (r"\b(a|one) met(re|er)\b", "100 cm"),
        (r"(\d+) ?(-|to|and) ?(\d+)[ -]?(cm|centimet(re|er)s?)\b", r"\1 cm to \3 cm"),
        (r"(\d+(\.\d+)?)[ -]?(cm|centimet(re|er)s?)\b", r"\1 cm"),
        (r"\b(\d+) (or|and) (more|longer|above|over)\b", r"at least \1"),
        (r"\b(two|three|four|five|six|seven) or (more)\b", r"at least \1"),
        (r"\b(one|two|three|four) or (two|three|four|five)\b", r"\1 to \2"),
        (r"\b(or|nor) (visible|any|a|an) ", r"\1 "),
    )
)
_METRES = re.compile(r"(\d+(?:\.\d+)?) ?(m|met(?:re|er)s?)\b")
_CLAUSE = re.compile(r"(?<!\d)[.](?!\d)|[.](?=\s|$)|[!?;:\n()]")
_JOINT = re.compile(
    r"(,? (?:and|or|nor|but|while|whereas|though|although|yet|plus|with(?!out)|which|where|because|since|however)\b|,)"
)
_SUPPOSED = re.compile(
    r"\b(would|should|could|might|may|if|perhaps|possibly|expected?|unclear|typically|usually|unless|or not|"
    r"not (be )?(decide|excluded?|tell|certain|clear))\b"
)
_NOUN = re.compile(
    r"(?P<michel>\bmichel(?:[ -](?:electrons?|candidates?|activity))?\b|\bdecay[ -]electrons?\b)"
    r"|(?P<gap>\b(?:gap|separation|displacement|offset)\b)"
    r"|(?P<shower>\b(?:(?:electron|photon|gamma|em|electromagnetic)[ -](?:like )?)*"
    r"(?:showers?|cascades?|electromagnetic activity|em activity|photons?)\b(?! cone))"
    r"|(?P<track>\b(?:muon(?:-like|ic)?|pion|proton|hadron(?:ic)?)?[ -]?(?:like )?(?:tracks?|tracklets?)\b"
    r"|\bmuons?\b(?: candidates?)?|\bmultiplicity\b|\bbusy (?:vertex|event)\b)"
)
_DETERMINER = re.compile(
    r"\b(?:(?:a|an|the|one|no|any|its|this|that|two|three|four|five|few|many|several|single|numerous|without|not|neither)"
    r"(?: |$|(?=,)))+"
)
_PRONOUN = re.compile(r"\s*(it|which|this|that|they)\b")
_NO_NEW_SUBJECT = re.compile(r"\s*(?!\s|(the|a|an|no|this fits|that is)\b)")
_NOT_BEFORE = re.compile(
    r"\b(no|nothing|not|without|neither|nor|lack(s|ing)?|absence|absent|missing|devoid|free of|zero|never|none)\b"
)
_NOT_AFTER = re.compile(
    r"\b(not|never|nowhere|no longer)\b[\w ]*"
    r"\b(visible|seen|present|found|observed|there|identified|detected|see|find)\b"
    r"|\b(absent|missing|lacking|invisible|nowhere)\b|\bis not there\b"
)
_OTHER = re.compile(r"\b(other|others|another|second|secondary|additional|further|extra|more|smaller|remaining)\b")
_MORE_THAN = re.compile(r"\b(over|more than|at least|longer than|above|beyond|exceed(s|ing)|greater than)\b")
_LESS_THAN = re.compile(r"\b(under|less than|shorter than|below|at most|up to|fewer than)\b")
_NOT_VERB = re.compile(r"\b(not|never|hardly|neither)\b")

_LONG = re.compile(r"\b(long|lengthy|through-going|throughgoing)\b")
_MEDIUM = re.compile(r"\b(medium|moderate|intermediate)\b|\b(medium|moderate)-length")
_MUON = re.compile(r"\bmuon|\bmip\b")
_CONTAINED = re.compile(r"\b(contained|stop(s|ping|ped)?|rang(es|ing) out|comes? to rest)\b|\bend(s|ing)? (with)?in")
_EXITING = re.compile(
    r"\b(exit(s|ing|ed)?|escap(es?|ing)|uncontained)\b|\b(leav(es?|ing)|left|cross(es|ing)|reach(es|ing)) "
    r"(the )?(whole |entire |edge of the |border of the )*"
    r"(map|view|picture|image|detector|frame|volume|argon|edge|border)"
    r"|\brun(s|ning)? out of the (map|view|picture|image|detector|frame)"
)
_SMALL = re.compile(r"\b(small|weak|faint|low-energy|minor|little|modest|tiny|soft)\b")
_LARGE = re.compile(r"\b(large|big|strong|energetic|high-energy|bright|dense|intense|powerful|massive|extended)\b")
_START = r"(start|begin|originat|emerg|grow|develop|com|rooted|open)\w*"
_ATTACHED = re.compile(
    rf"\b(attached|connected|adjacent)\b|\btouch(es|ing) the\b|\b{_START} (directly |right |straight |immediately )*"
    r"(at|from|in|out of) (the |its )?(\w+ )?(vertex|point)\b|\bat the (\w+ )?vertex\b"
)
_DISPLACED = re.compile(
    r"\b(displaced|detached|disconnected|separated?|isolated|remote)\b|\b(away|apart|far|off|cm|distant)"
    r"( downstream)? (from|after|behind|of|downstream)\b|\bat (a|some) distance\b|\bdownstream of\b"
)
_ONE = re.compile(r"\b(one|single|1|lone|sole)\b")
_FEW = re.compile(r"\b(few|couple|pair|handful)\b|\blow\b[\w ]*multiplicity")
_MANY = re.compile(r"\b(many|numerous|dozens?|lots)\b|\bbusy (vertex|event)|\bhigh\b[\w ]*multiplicity")
_COUNTS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
_COUNT = re.compile(rf"\b(\d+|{'|'.join(_COUNTS)})\b(?! cm)(?! [gm]ev)(?![.,]\d)")
_CM = re.compile(r"(\d+(?:\.\d+)?) cm\b")
_ENERGY = re.compile(r"(\d+(?:\.\d+)?) ?([gm])ev\b")


@dataclass(frozen=True, slots=True)
class _Piece:
    """A noun with the words before and after it. ``negated``: a negation before the noun reaches it."""

    kind: str
    before: str
    noun: str
    after: str
    negated: bool

    @property
    def text(self) -> str:
        return f"{self.before} {self.noun} {self.after}"

    @property
    def absent(self) -> bool:
        """Whether the thing itself is denied, before or after its noun."""
        return self.negated or bool(_NOT_AFTER.search(self.after))


Found = Iterator[tuple[str, StrEnum]]


def parse_reason(text: str) -> Claims:
    """The claims that ``text`` makes; None where it says nothing, or says both (then named in ``conflicts``).

    >>> parse_reason("A long muon track leaves the map. No shower is visible.").stated()["track_end"].value
    'exiting'
    """
    found: dict[str, set[StrEnum]] = defaultdict(set)
    for piece in _pieces(text):
        for name, value in _READERS[piece.kind](piece):
            found[name].add(value)
    _settle_end(found)
    for name, parent in PARENT.items():
        if found[name]:
            found[parent].add(Presence.PRESENT)
    if Multiplicity.ZERO in found["tracks"] and Presence.PRESENT in found["muon_track"]:
        found["tracks"] |= {Multiplicity.ZERO, Multiplicity.ONE}
    conflicts = {name for name, values in found.items() if len(values) > 1}
    unsettled = conflicts | {name for name, parent in PARENT.items() if parent in conflicts}
    values = {name: next(iter(v)) for name, v in found.items() if v and name not in unsettled}
    return Claims(**values, conflicts=tuple(sorted(conflicts)))  # type: ignore[arg-type]


def _settle_end(found: dict[str, set[StrEnum]]) -> None:
    """A contained track need not be a muon: without a word about one, its end claims nothing."""
    if Presence.PRESENT not in found["muon_track"] and not found["track_length"]:
        found["track_end"].discard(TrackEnd.CONTAINED)


def _pieces(text: str) -> Iterator[_Piece]:
    """The pieces of a text in order."""
    text = text.lower()
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = _METRES.sub(lambda m: f"{float(m[1]) * 100:g} cm", text)
    last: _Piece | None = None
    for sentence in _CLAUSE.split(text):
        words = _JOINT.split(sentence)
        joints, clauses = ["", *words[1::2]], words[0::2]
        supposed = False
        for at, clause in enumerate(clauses):
            supposed = bool(_SUPPOSED.search(clause)) or (supposed and joints[at].strip(" ,") in ("or", "nor"))
            if supposed:
                continue
            carried = last is not None and last.negated and _carries(joints, at, clause)
            goes_on = last is not None and (_PRONOUN if at == 0 else _NO_NEW_SUBJECT).match(clause)
            for piece in _split(clause, last.kind if last and goes_on else None, carried):
                yield piece
                last = piece


def _carries(joints: list[str], at: int, clause: str) -> bool:
    """Whether a "no" before the joint in front of clause ``at`` reaches into it: ``no a, b or c``, ``no a and b``."""
    joint = joints[at].strip(" ,")
    if joint in ("or", "nor"):
        return True
    if at == 0 or _DETERMINER.search(clause) or _LONG.search(clause):
        return False
    return joint == "and" or (joint == "" and joints[at + 1 : at + 2] in ([" or"], [" nor"], [", or"], [", nor"]))


def _split(clause: str, last_kind: str | None, carried: bool) -> Iterator[_Piece]:
    """One piece per noun; a clause without a noun belongs to ``last_kind``."""
    nouns = list(_NOUN.finditer(clause))
    if not nouns:
        if last_kind is not None:
            yield _Piece(last_kind, "", "", clause, False)
        return
    start = 0
    for noun, following in zip(nouns, [*nouns[1:], None], strict=True):
        between = clause[noun.end() : following.start() if following else len(clause)]
        cuts = [m.start() for m in _DETERMINER.finditer(between)] if following else []
        end = noun.end() + (cuts[-1] if cuts else len(between))
        before = clause[start : noun.start()]
        kind = noun.lastgroup or ""
        negated = bool(_NOT_BEFORE.search(before)) or (carried and start == 0)
        yield _Piece(kind, before, noun[0], clause[noun.end() : end], negated)
        start = end


def _read_michel(piece: _Piece) -> Found:
    if piece.noun:
        yield "michel", Presence.ABSENT if piece.absent else Presence.PRESENT


def _read_gap(piece: _Piece) -> Found:
    """A gap is told of a shower; how wide it is decides where it is given."""
    centimetres = _CM.search(piece.text)
    if piece.absent:
        yield "shower_gap", ShowerGap.ATTACHED
    elif centimetres:
        yield from _gap_of(float(centimetres[1]))
    elif piece.noun:
        yield "shower_gap", ShowerGap.DISPLACED


def _gap_of(width: float) -> Found:
    if width < GAP_ATTACHED:
        yield "shower_gap", ShowerGap.ATTACHED
    elif width >= GAP_DISPLACED:
        yield "shower_gap", ShowerGap.DISPLACED


def _read_shower(piece: _Piece) -> Found:
    if _OTHER.search(piece.before):
        return
    gap, size = _gap_words(piece), _size_words(piece)
    if piece.absent:  # "no displaced shower" and "no large shower" leave open whether there is another
        if gap is None and size is None:
            yield "shower", Presence.ABSENT
        return
    if piece.noun:
        yield "shower", Presence.PRESENT
    if size is not None:
        yield "shower_size", size
    if gap is not None:
        yield from [("shower_gap", gap)]


def _gap_words(piece: _Piece) -> ShowerGap | None:
    """Where the shower starts, from the words around it; a denied start is the opposite one."""
    centimetres = _CM.search(piece.after)
    if centimetres and "vertex" in piece.after:
        return next((value for _, value in _gap_of(float(centimetres[1]))), None)  # type: ignore[return-value]
    for pattern, value, opposite in (
        (_DISPLACED, ShowerGap.DISPLACED, ShowerGap.ATTACHED),
        (_ATTACHED, ShowerGap.ATTACHED, ShowerGap.DISPLACED),
    ):
        if pattern.search(piece.text):
            return opposite if _NOT_VERB.search(piece.after) else value
    return None


def _size_words(piece: _Piece) -> ShowerSize | None:
    energy = _ENERGY.search(piece.text)
    if energy:
        value = float(energy[1]) * (1.0 if energy[2] == "g" else 1e-3)
        return None if value < SHOWER_SEEN else ShowerSize.LARGE if value >= SHOWER_LARGE else ShowerSize.SMALL
    if _SMALL.search(piece.text):
        return ShowerSize.SMALL
    return ShowerSize.LARGE if _LARGE.search(piece.text) else None


def _read_track(piece: _Piece) -> Found:
    """A muon-like track, or the number of tracks."""
    if _OTHER.search(piece.before.replace("more than", "")):
        return
    centimetres = [float(m[1]) for m in _CM.finditer(piece.text)]
    end = _end_words(piece)
    is_muon = bool(_MUON.search(piece.text) or _LONG.search(piece.text) or max(centimetres, default=0) >= MUON_LIKE)
    if piece.absent:
        if is_muon and (end is None or not piece.noun):
            yield "muon_track", Presence.ABSENT
        elif end is None and piece.noun:
            yield "tracks", Multiplicity.ZERO
        return
    if re.search(r"\b(only|just|all)\b.*\bshort\b|\bshort\b.*\bonly\b", piece.text) or (
        _LONG.search(piece.after) and _NOT_VERB.search(piece.after)
    ):
        yield "muon_track", Presence.ABSENT
    elif is_muon and not (centimetres and max(centimetres) < MUON_LIKE):
        if piece.noun:
            yield "muon_track", Presence.PRESENT
        yield from _length_words(piece, centimetres)
    if end is not None and not piece.noun.endswith("tracks"):
        yield "track_end", end
    if not _MUON.search(piece.noun) or piece.noun.endswith("tracks"):
        yield from _count_words(piece)


def _length_words(piece: _Piece, centimetres: list[float]) -> Found:
    if centimetres:
        low, above, below = min(centimetres), _MORE_THAN.search(piece.text), _LESS_THAN.search(piece.text)
        if low >= TRACK_LONG and not below:
            yield "track_length", TrackLength.LONG
        elif not above and (low < TRACK_LONG or below):
            yield "track_length", TrackLength.MEDIUM
    elif _MEDIUM.search(piece.text):
        yield "track_length", TrackLength.MEDIUM
    elif _LONG.search(piece.text):
        yield "track_length", TrackLength.LONG


def _end_words(piece: _Piece) -> TrackEnd | None:
    for pattern, value, opposite in (
        (_EXITING, TrackEnd.EXITING, TrackEnd.CONTAINED),
        (_CONTAINED, TrackEnd.CONTAINED, TrackEnd.EXITING),
    ):
        if pattern.search(piece.text):
            return opposite if _NOT_VERB.search(piece.after) else value
    return None


def _count_words(piece: _Piece) -> Found:
    """The number of tracks, from the words before the noun."""
    is_counted_after = re.match(r" are (few|many|numerous)\b", piece.after)
    words = piece.before if "track" in piece.noun and not is_counted_after else piece.text
    numbers = [_COUNTS.get(m[1]) or int(m[1]) for m in _COUNT.finditer(words)]
    if numbers and max(numbers) > 1:
        low = numbers[0] + (re.search(r"\b(more than|over)\b", words) is not None)
        high = numbers[-1] - ("fewer than" in words or "less than" in words)
        is_open = _MORE_THAN.search(words) is not None
        if low >= TRACKS_MANY:
            yield "tracks", Multiplicity.MANY
        elif low > 1 and high < TRACKS_MANY and not is_open:
            yield "tracks", Multiplicity.FEW
    elif _MANY.search(words):
        yield "tracks", Multiplicity.MANY
    elif _FEW.search(words):
        yield "tracks", Multiplicity.FEW
    elif _ONE.search(words) and not _LONG.search(words):
        yield "tracks", Multiplicity.ONE


_READERS = {"michel": _read_michel, "gap": _read_gap, "shower": _read_shower, "track": _read_track}
