"""The shapes of answers, as the OpenAPI schema tells them to programs."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Shape(BaseModel):
    """Base: fields beyond those named may come, so that answers can grow."""

    model_config = ConfigDict(extra="allow")


class Problem(Shape):
    """What went wrong, where, what was expected, what to do."""

    what: str
    where: str
    expected: str
    next_step: str


class ErrorAnswer(Shape):
    """Every answer with a status of 400 or more."""

    error: Problem


class QueueState(Shape):
    """Requests that wait for a model, and how many may."""

    waiting: int
    limit: int


class Health(Shape):
    """Whether the service is up."""

    status: str
    version: str
    queue: QueueState


class Version(Shape):
    """Versions of the package and of the columns of events."""

    version: str
    event_schema: int


class ClassName(Shape):
    """A class and what people call it."""

    name: str
    title: str


class View(Shape):
    """One projection: coordinates along rows and columns, pixels along each, sizes of a pixel."""

    name: str
    rows: str
    cols: str
    shape: list[int]
    pixel_cm: list[float] = Field(description="size along (rows, columns), in axis_unit")
    axis_unit: str = Field(description="cm, or wire, tick")
    origin_cm: list[float | None] = Field(description="lower edge of pixel (0, 0), in axis_unit")
    unit: str = Field(description="of pixel values: GeV, ke or grey")


class RunEntry(Shape):
    """One run: a model, an evaluation of one, or both."""

    name: str
    task: str
    kind: str = Field(description="classes or energy")
    classes: list[ClassName]
    energy: str | None
    has_model: bool
    has_metrics: bool
    reads: str = Field(description="pixelmap or cloud")
    resolution: int = Field(description="pixels joined per side beyond what the model does")
    n_predicted: int
    n_elsewhere: int = Field(description="answers about events that are not in this store")
    coverage: float | None


class Data(Shape):
    """What the store is."""

    name: str
    n_events: int
    title: str
    simulated: bool | None
    representations: list[str]
    views: list[View]
    classes: list[ClassName]
    modes: list[str]
    splits: list[str]
    sortable: list[str]
    energy_column: str | None
    runs: list[RunEntry]


class Row(Shape):
    """An event as in a list; energy in GeV."""

    index: int
    key: str
    truth: str | None
    mode: str | None
    energy: float | None
    split: str | None
    answers: dict[str, dict[str, Any]]


class Page(Shape):
    """A page of the list."""

    total: int
    offset: int
    events: list[Row]


class Neighbours(Shape):
    """The events before and after one in the order of a query; null at the ends, or if it is not in it."""

    previous: int | None
    next: int | None
    rank: int | None
    total: int


class Particle(Shape):
    """A particle leaving the nucleus."""

    pdg: int
    name: str
    energy_GeV: float | None
    momentum_GeV: list[float | None]
    kinetic_GeV: float | None


class Event(Row):
    """All about one event."""

    source: str
    weight: float | None
    truth_columns: dict[str, dict[str, Any]]
    truths: dict[str, str | None]
    particles: list[Particle]
    vertex_cm: list[float] | None
    representations: list[str]
    views: list[View]


class Pixels(Shape):
    """Non-empty pixels of one view; ``origin_cm``: lower edge of pixel (0, 0) along (rows, columns)."""

    shape: list[int]
    row: list[int]
    col: list[int]
    value: list[float]
    unit: str
    origin_cm: list[float | None]


class EvidenceView(Shape):
    """Evidence of each pixel of one view, of ``factor`` x ``factor`` stored pixels each."""

    shape: list[int]
    factor: int
    values: list[list[float]]


class EvidenceAnswer(Shape):
    """Evidence for the class ``target``, in log-odds: positive for it, negative against it."""

    target: str
    unit: str
    views: dict[str, EvidenceView]


class Cloud(Shape):
    """Tokens of an event."""

    tokens: list[dict[str, Any]]
    types: list[str]
    frame: str
    true_energy_GeV: float | None


class Prediction(Shape):
    """What a model says about an event."""

    answer: dict[str, Any]


class Explanation(Shape):
    """What a model says about an event, and why."""

    answer: dict[str, Any]
    reason: str | None
    claims: list[dict[str, Any]]


class Uploaded(Shape):
    """Events of uploaded files with the answers about them."""

    upload: str
    format: str
    n_events: int
    events: list[Event]
    left_out: dict[str, int]
    notes: list[str]


class RunPage(Shape):
    """How good a run is."""

    name: str
    task: str
    kind: str
    n_events: int
    metrics: dict[str, dict[str, Any]]
    confusion: dict[str, Any] | None
    roc: dict[str, dict[str, Any]]
    reliability: dict[str, Any] | None
    binned: list[dict[str, Any]]


class Comparison(Shape):
    """Runs on the events that all of them answered about."""

    runs: list[str]
    n_common: int
    rows: list[dict[str, Any]]
    agreement: list[list[float | None]] | None
