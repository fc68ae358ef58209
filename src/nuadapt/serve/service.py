"""Everything that one process of the service holds: the events, the runs, what waits, what was uploaded."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np

from nuadapt.evaluation.predictions import Predictions
from nuadapt.evaluation.reading import other_maps
from nuadapt.events.batch import EventBatch
from nuadapt.events.store import EventStore
from nuadapt.events.truth import NO_LABEL
from nuadapt.serve.answers import (
    ENERGIES,
    PREDICTIONS,
    class_answer,
    class_details,
    energy_details,
    plain,
    write_energies,
)
from nuadapt.serve.collection import Collection, evidence_json
from nuadapt.serve.desk import Desk
from nuadapt.serve.display import claims_of, view_number
from nuadapt.serve.models import EVIDENCE, PREDICT, REASON, Models, Reply, Views
from nuadapt.serve.parse_worker import STORE
from nuadapt.serve.places import Run, open_places
from nuadapt.serve.problems import Unavailable
from nuadapt.serve.results import compare, run_page
from nuadapt.serve.settings import ServeSettings
from nuadapt.serve.uploads import Parsed, Uploads, store_files

#: The collection plane and one induction plane of a DUNE event (sources/dune_cvn.py).
DUNE_VIEWS = ("view2", "view0")
_PICTURES_KEPT = 256
_ARTISTS = 4  # threads that draw and compare: few, so that lists go on, and not one, which would get no turn among them
_LISTED = 200  # events of an upload that its answer holds; as many as a page of the list


class Service:
    """Made when a process starts, closed when it ends. Methods that wait for a desk are coroutines."""

    def __init__(self, settings: ServeSettings) -> None:
        self.settings, limits = settings, settings.limits
        self.runs: list[Run] = open_places(settings.places, models=settings.models)
        self.events = Collection.open(Path(settings.data), self.runs)
        self.models = Models({r.name: r.model for r in self.runs if r.model is not None}, limits)
        self.uploads = Uploads(Path(settings.temporary), self.runs, limits)
        self._pictures: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()
        self._comparisons: dict[tuple[str, ...], dict[str, Any]] = {}
        self._lock = Lock()
        self.bench = Desk(
            "pictures",
            lambda tasks: [task() for task in tasks],
            waiting=limits.waiting,
            threads=_ARTISTS,
            retry_seconds=limits.retry_seconds,
        )

    def start(self) -> None:
        """Start what works in the background."""
        self.uploads.start(warm=self.settings.warm_up)

    def close(self) -> None:
        """Finish what was accepted, then let go of everything."""
        self.uploads.close()
        self.models.close()
        self.bench.close()
        self.events.close()

    @property
    def waiting(self) -> int:
        """Requests that wait for anything."""
        return self.models.waiting + self.uploads.desk.waiting + self.bench.waiting

    async def picture(
        self, place: str, collection: Collection, index: int, view: str, scale: str, *, truth: bool
    ) -> bytes:
        """A PNG of a view; ``place`` names the collection.

        Raises:
            NotThere: no such event or view.
            Busy: too many pictures wait.
        """
        number = view_number(collection.layout.map_spec, view)
        collection.catalogue.check(index)
        key = (place, index, number, scale, truth)
        with self._lock:
            if key in self._pictures:
                self._pictures.move_to_end(key)
                return self._pictures[key]

        def draw() -> bytes:
            from nuadapt.serve.drawing import draw_view  # brings matplotlib

            batch = collection.read(index)
            return draw_view(batch, batch.pixelmap, number, scale=scale, truth=truth) if batch.pixelmap else b""

        made: bytes = await asyncio.wrap_future(self.bench.submit(draw))
        with self._lock:
            self._pictures[key] = made
            while len(self._pictures) > _PICTURES_KEPT:
                self._pictures.popitem(last=False)
        return made

    async def compared(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Runs side by side.

        Raises:
            NotThere: no such run.
            Unusable: fewer than two, or of different kinds.
        """
        found = [self.events.catalogue.chosen(name) for name in names]
        if names not in self._comparisons:
            weight = self.events.weight

            def measure() -> dict[str, Any]:
                return compare([a for a in found if a is not None], weight)

            self._comparisons[names] = await asyncio.wrap_future(self.bench.submit(measure))
        return self._comparisons[names]

    def page_of(self, name: str) -> dict[str, Any]:
        """Metrics and curves of a run.

        Raises:
            NotThere: no such run, or it has no evaluation.
        """
        answers = self.events.catalogue.chosen(name)
        return run_page(answers.run) if answers is not None else {}

    async def asked(self, kind: str, run: str, index: int) -> tuple[Reply, EventBatch]:
        """What a model says about an event of the store; asked once, then kept.

        Raises:
            NotThere: no such event or run.
            Unavailable: the run has no model.
            Busy: too much waits.
        """
        self.events.catalogue.chosen(run)
        batch = await asyncio.to_thread(self.events.read, index)
        reply = self.models.recall(kind, run, index)
        if reply is None:
            (reply,) = await _all(self.models.of(run).ask(kind, batch))
            self.models.keep(kind, run, index, reply)
        return reply, batch

    async def explained(self, run: str, index: int) -> dict[str, Any]:
        """Answer, reason and claims; see :meth:`asked`."""
        stored = self.events.catalogue.chosen(run)
        reason = stored.reasons.get(index) if stored is not None else None
        reply, batch = await self.asked(PREDICT if reason else REASON, run, index)
        said = reason or (reply.reasons[0] if reply.reasons else None)
        claims = claims_of(said, batch) if said else []
        return {"answer": self.answer(run, index, reply), "reason": said, "claims": claims}

    async def evidence(self, run: str, index: int) -> dict[str, Any]:
        """Evidence of pixels, stored or computed; see :meth:`asked`."""
        stored = await asyncio.to_thread(self.events.evidence, index, run)
        if stored is not None:
            return stored
        reply, _ = await self.asked(EVIDENCE, run, index)
        if reply.evidence is None or reply.table is None:
            raise Unavailable(f"the run '{run}' gives no evidence")
        views = self.events.catalogue.answers[run].run.trained["input"]["views"]
        label = reply.table.classes[int(reply.table.label[0])]
        return evidence_json(reply.evidence[0], views, reply.factor, label)

    def answer(self, run: str, index: int, reply: Reply) -> dict[str, Any]:
        """A reply about an event of the store, as in the answers of an event."""
        found = self.events.catalogue.answers[run]
        if reply.table is None:
            energy = float(reply.energy[0]) if reply.energy is not None else float("nan")
            shown = {"energy": plain(energy), "true_energy_GeV": plain(found.truth_energy[index])}
            return shown | energy_details(found.run, energy)
        table, truth_label = reply.table, int(found.truth[index]) if len(found.truth) else NO_LABEL
        inside = table.sets[0] if table.sets is not None else None
        given = class_answer(found.run, int(table.label[0]), table.probability[0], truth_label)
        return given | class_details(found.run, inside)

    async def upload(
        self,
        run: str | None,
        files: Sequence[tuple[str, BinaryIO]],
        views: Views = None,
        settings: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Read uploaded files and ask the model of ``run`` about their events.

        ``views`` of the files stand for those of the model; none named: those of the same name, and of DUNE's three
        views the collection plane and one induction plane for a model of two. ``settings`` are those of the reader.

        Raises:
            NotThere, Unavailable: no such run, or it has no model.
            Busy: too much waits.
            TooLarge, Unusable, TimedOut: the files are no good.
        """
        if run is not None:
            self.events.catalogue.chosen(run)
            self.models.of(run)
        folder = self.uploads.new()
        try:
            await asyncio.to_thread(store_files, folder, files, self.settings.limits, settings)
            parsed: Parsed = await asyncio.wrap_future(self.uploads.read(folder))
            if run is not None:
                views = views or self._standing_in(run, parsed)
                parsed.notes.extend(await self._predict_upload(folder, run, views))
            name = await asyncio.to_thread(self.uploads.done, folder, run)
        except BaseException:
            await asyncio.to_thread(self.uploads.discard, folder)
            raise
        return await asyncio.to_thread(self._uploaded, name, parsed)

    def _standing_in(self, run: str, parsed: Parsed) -> Views:
        """Views of files without names that a model knows; says so in the notes."""
        wanted = self.events.catalogue.answers[run].run.trained["input"].get("views", ())
        if parsed.format != "dune-cvn" or len(wanted) != len(DUNE_VIEWS):
            return None
        parsed.notes.append(f"{' and '.join(DUNE_VIEWS)} stand for the model's views {' and '.join(wanted)}")
        return DUNE_VIEWS

    async def _predict_upload(self, folder: Path, run: str, views: Views) -> list[str]:
        """Ask the model about all events of an upload, and write the table beside them.

        Gives what is to be said about maps that are unlike those of the model's training.
        """

        def read() -> EventBatch:
            with EventStore(folder / STORE) as store:
                return store.read(slice(0, len(store)))

        batch = await asyncio.to_thread(read)
        replies = await _all(self.models.of(run).ask(PREDICT, batch, views))
        tables = [r.table for r in replies if r.table is not None]
        if tables:
            await asyncio.to_thread(Predictions.concatenate(tables).write, folder / PREDICTIONS)
            maps = batch.pixelmap
            trained = self.events.catalogue.answers[run].run.trained
            return other_maps(trained, maps.spec if maps is not None else None)
        energy = np.concatenate([r.energy for r in replies if r.energy is not None])
        await asyncio.to_thread(write_energies, folder / ENERGIES, batch, energy)
        return []

    def _uploaded(self, name: str, parsed: Parsed) -> dict[str, Any]:
        collection = self.uploads.open(name)
        shown = range(min(collection.catalogue.n, _LISTED))
        return {
            "upload": name,
            "format": parsed.format,
            "n_events": collection.catalogue.n,
            "events": [collection.event(index) for index in shown],
            "left_out": parsed.left_out,
            "notes": parsed.notes,
        }


async def _all(futures: Sequence[Future[Reply]]) -> list[Reply]:
    """Results of all futures, in order; the first error if one fails, after all have ended."""
    results = await asyncio.gather(*(asyncio.wrap_future(f) for f in futures), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if isinstance(result, Reply)]
