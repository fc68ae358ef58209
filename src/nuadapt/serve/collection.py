"""Events of one store with what runs answered about them: what is given at start, or what an upload became."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from nuadapt.events.batch import EventBatch
from nuadapt.events.format import Layout
from nuadapt.events.store import EventStore
from nuadapt.serve.answers import Answers, plain, read_answers
from nuadapt.serve.catalogue import ENERGY, Catalogue, Query
from nuadapt.serve.display import (
    claims_of,
    cloud_of,
    particles_of,
    pixels_of,
    truth_columns,
    vertex_of,
    view_number,
    views_of,
)
from nuadapt.serve.places import Run


class Collection:
    """Read-only; may be asked from several threads."""

    def __init__(self, store: EventStore, answers: Sequence[Answers], name: str) -> None:
        self.store, self.name = store, name
        self.layout: Layout = store.layout
        self.catalogue = Catalogue(store, answers)
        self.weight = store.column("weight")
        self._reading = Lock()

    @classmethod
    def open(cls, path: Path, runs: Sequence[Run]) -> Collection:
        """A store with the answers that the evaluations of ``runs`` hold about its events.

        Raises:
            InputFileError: the store or an evaluation is damaged.
        """
        store = EventStore(path)
        return cls(store, [read_answers(run, store) for run in runs], path.name)

    def close(self) -> None:
        """Close the file."""
        with self._reading:
            self.store.close()

    @property
    def runs(self) -> list[Run]:
        """Runs with a column of answers here."""
        return [a.run for a in self.catalogue.answers.values()]

    @property
    def representations(self) -> list[str]:
        """What events here have to look at."""
        kinds = (("pixelmap", self.layout.map_spec), ("cloud", self.layout.cloud_spec))
        return [kind for kind, spec in kinds if spec is not None]

    def read(self, index: int) -> EventBatch:
        """One event.

        Raises:
            NotThere: no such event.
        """
        self.catalogue.check(index)
        with self._reading:
            return self.store.read(slice(index, index + 1))

    def about(self) -> dict[str, Any]:
        """What the store is, what its events have, which runs there are."""
        record, catalogue = self.store.record, self.catalogue
        stage = str(record.get("stage", ""))
        return {
            "name": self.name,
            "n_events": catalogue.n,
            "title": f"{catalogue.n} events of {self.name}",
            "simulated": stage.startswith("simulate") if stage else None,
            "representations": self.representations,
            "views": views_of(self.layout.map_spec),
            "classes": [{"name": n, "title": t} for n, t in catalogue.classes.items()],
            "modes": catalogue.modes,
            "splits": catalogue.splits,
            "sortable": catalogue.sortable,
            "energy_column": ENERGY if "energy" in catalogue.sortable else None,
            "runs": [self._about_run(a) for a in catalogue.answers.values()],
        }

    def _about_run(self, answers: Answers) -> dict[str, Any]:
        run = answers.run
        return {
            "name": run.name,
            "task": run.task.name,
            "kind": run.kind,
            "classes": [{"name": n, "title": t} for n, t in run.titles.items()],
            "energy": run.task.energy or None,
            "has_model": run.model is not None,
            "has_metrics": bool(run.metrics),
            "reads": run.reads,
            "resolution": run.resolution,
            "n_predicted": int(answers.known.sum()),
            "n_elsewhere": answers.n_elsewhere,
            "coverage": run.coverage,
        }

    def page(self, query: Query, offset: int, limit: int) -> dict[str, Any]:
        """A page of the list."""
        rows = self.catalogue.rows(query)
        shown = rows[offset : offset + limit]
        events = [self.catalogue.row(int(index), query.run) for index in shown]
        return {"total": len(rows), "offset": offset, "events": events}

    def neighbours(self, index: int, query: Query) -> dict[str, Any]:
        """The events before and after one in the order of a query; all null if it is not among them."""
        self.catalogue.check(index)
        rows = self.catalogue.rows(query)
        at = np.flatnonzero(rows == index)
        if not len(at):
            return {"previous": None, "next": None, "rank": None, "total": len(rows)}
        rank = int(at[0])
        previous = int(rows[rank - 1]) if rank > 0 else None
        following = int(rows[rank + 1]) if rank + 1 < len(rows) else None
        return {"previous": previous, "next": following, "rank": rank, "total": len(rows)}

    def event(self, index: int) -> dict[str, Any]:
        """All about one event."""
        batch, catalogue = self.read(index), self.catalogue
        found = catalogue.row(index)
        details = {name: self._details(a, index, batch) for name, a in catalogue.answers.items()}
        return found | {
            "source": batch.sources[int(batch["source"][0])] if batch.sources else "",
            "weight": plain(batch["weight"][0]),
            "truth_columns": truth_columns(batch),
            "truths": {name: catalogue.truth(index, name) for name in catalogue.answers},
            "particles": particles_of(batch),
            "vertex_cm": vertex_of(batch),
            "representations": self.representations,
            "views": views_of(self.layout.map_spec, batch.pixelmap),
            "answers": {name: answer for name, answer in details.items() if answer is not None},
        }

    def _details(self, answers: Answers, index: int, batch: EventBatch) -> dict[str, Any] | None:
        found = answers.details(index)
        if found is None:
            return None
        reason = answers.reasons.get(index)
        claims = claims_of(reason, batch) if reason else []
        return found | {"reason": reason, "claims": claims, "evidence": index in answers.explained_rows}

    def view(self, index: int, name: str) -> dict[str, Any]:
        """Pixels of one view of an event.

        Raises:
            NotThere: no such event or view.
        """
        number = view_number(self.layout.map_spec, name)
        batch = self.read(index)
        if batch.pixelmap is None:
            return {}
        return pixels_of(batch.pixelmap, number)

    def cloud(self, index: int) -> dict[str, Any]:
        """Tokens of an event, with its true energy by the first run that asks for one.

        Raises:
            NotThere: no such event, or these events have no clouds.
        """
        found = cloud_of(self.read(index))
        energies = [a for a in self.catalogue.answers.values() if a.run.kind == "energy"]
        truth = energies[0].truth_energy[index] if energies else self.catalogue.energy[index]
        return found | {"true_energy_GeV": plain(truth)}

    def evidence(self, index: int, run: str) -> dict[str, Any] | None:
        """Stored evidence for a run's answer about an event; None where there is none.

        Raises:
            NotThere: no such event or run.
        """
        self.catalogue.check(index)
        answers = self.catalogue.chosen(run)
        spec = self.layout.map_spec
        if answers is None or answers.explained is None or index not in answers.explained_rows or spec is None:
            return None
        at, found = answers.explained_rows[index], answers.explained
        reads = answers.run.trained.get("input", {})
        factor = found.coarsen * answers.run.resolution
        views, target = list(reads.get("views", spec.views)), str(found.events[at]["target"])
        return evidence_json(found.evidence[at], views, factor, target)


def evidence_json(evidence: Any, views: Sequence[str], factor: int, target: str) -> dict[str, Any]:
    """Evidence (V, H, W) in log-odds of the class ``target``, on pixels of ``factor`` x ``factor`` stored ones."""
    shown = np.round(np.asarray(evidence, dtype=np.float64), 5) + 0.0  # no negative zeros
    return {
        "target": target,
        "unit": "log-odds",
        "views": {
            name: {"shape": list(shown.shape[1:]), "factor": factor, "values": shown[i].tolist()}
            for i, name in enumerate(views)
        },
    }
