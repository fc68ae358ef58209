"""What can be asked about the events of the store. Paths, parameters and shapes; the work is done elsewhere."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, Query, Request, UploadFile
from fastapi.responses import JSONResponse, Response

from nuadapt import __version__
from nuadapt.events.schema import SCHEMA_VERSION
from nuadapt.serve import catalogue, schemas
from nuadapt.serve.models import PREDICT
from nuadapt.serve.service import Service

LARGEST = 2**62  # of an index; no store has as many events
ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": schemas.ErrorAnswer, "description": words}
    for code, words in {
        400: "The request is malformed.",
        401: "The token is missing or wrong.",
        403: "Another host name, or another site.",
        404: "No such event, view, run or upload.",
        413: "The request is too large.",
        422: "A parameter, or the events, do not fit.",
        429: "Too much waits already; see Retry-After.",
        408: "The request did not arrive in time.",
        503: "There is no model, or the service is stopping.",
        504: "An upload took too long to read.",
    }.items()
}
router = APIRouter(prefix="/api", responses=ERRORS)
health_router = APIRouter()


def service_of(request: Request) -> Service:
    """The service of this process."""
    found: Service = request.app.state.service
    return found


PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}, "description": "The picture."}}
Scale = Literal["log", "linear"]
RunName = Annotated[str, Query(max_length=200, description="name of a run")]
Here = Annotated[Service, Depends(service_of)]


def event_query(
    sort: Annotated[str, Query(max_length=40)] = "index",
    order: Literal["asc", "desc"] = "asc",
    run: Annotated[str | None, Query(max_length=200)] = None,
    label: Annotated[str | None, Query(max_length=100)] = None,
    truth: Annotated[str | None, Query(max_length=100)] = None,
    correct: bool | None = None,
    min_p: Annotated[float | None, Query(allow_inf_nan=False)] = None,
    max_p: Annotated[float | None, Query(allow_inf_nan=False)] = None,
    min_energy: Annotated[float | None, Query(allow_inf_nan=False, description="GeV")] = None,
    max_energy: Annotated[float | None, Query(allow_inf_nan=False, description="GeV")] = None,
    mode: Annotated[str | None, Query(max_length=40)] = None,
    split: Annotated[str | None, Query(max_length=40)] = None,
    disagree: bool | None = None,
    find: Annotated[str | None, Query(max_length=60, description="RUN/SUBRUN/EVENT, or EVENT")] = None,
) -> catalogue.Query:
    """The parameters that list and neighbours share."""
    return catalogue.Query(
        sort,
        order,
        run or None,
        label or None,
        truth or None,
        correct,
        min_p,
        max_p,
        min_energy,
        max_energy,
        mode or None,
        split or None,
        disagree,
        find or None,
    )


Asked = Annotated[catalogue.Query, Depends(event_query)]


@health_router.get("/health", response_model=schemas.Health)
def health(service: Here) -> dict[str, Any]:
    """Whether the service is up, and how much waits."""
    queue = {"waiting": service.waiting, "limit": service.settings.limits.waiting}
    return {"status": "ok", "version": __version__, "queue": queue}


@router.get("/version", response_model=schemas.Version)
def version() -> dict[str, Any]:
    """Versions of the package and of the schema of events."""
    return {"version": __version__, "event_schema": SCHEMA_VERSION}


@router.get("/data", response_model=schemas.Data)
def data(service: Here) -> JSONResponse:
    """What the store is, and which runs there are."""
    return JSONResponse(service.events.about())


@router.get("/events", response_model=schemas.Page)
def events(
    service: Here,
    asked: Asked,
    offset: Annotated[int, Query(ge=0, le=LARGEST)] = 0,
    limit: Annotated[int, Query(ge=0, le=200)] = 50,
) -> JSONResponse:
    """A page of the events that pass all filters, sorted."""
    return JSONResponse(service.events.page(asked, offset, limit))


@router.get("/events/{index}", response_model=schemas.Event)
def event(service: Here, index: int) -> JSONResponse:
    """All about one event."""
    return JSONResponse(service.events.event(index))


@router.get("/events/{index}/neighbours", response_model=schemas.Neighbours)
def neighbours(service: Here, index: int, asked: Asked) -> JSONResponse:
    """The events before and after one in a list with the same filters and order."""
    return JSONResponse(service.events.neighbours(index, asked))


# The picture comes first, because the other path would take "xz.png" for the name of a view.
@router.get("/events/{index}/views/{view}.png", response_class=Response, responses=PNG)
async def picture(service: Here, index: int, view: str, scale: Scale = "log", truth: bool = False) -> Response:
    """An image of one view with axes; with ``truth`` the final state is drawn over it."""
    made = await service.picture("", service.events, index, view, scale, truth=truth)
    return Response(made, media_type="image/png")


@router.get("/events/{index}/views/{view}", response_model=schemas.Pixels)
def view(service: Here, index: int, view: str) -> JSONResponse:
    """Non-empty pixels of one view."""
    return JSONResponse(service.events.view(index, view))


@router.get("/events/{index}/cloud", response_model=schemas.Cloud)
def cloud(service: Here, index: int) -> JSONResponse:
    """Tokens of an event."""
    return JSONResponse(service.events.cloud(index))


@router.get("/events/{index}/evidence/{run}", response_model=schemas.EvidenceAnswer)
async def evidence(service: Here, index: int, run: str) -> JSONResponse:
    """What speaks for a run's answer and what against it, pixel by pixel; computed if no evaluation holds it."""
    return JSONResponse(await service.evidence(run, index))


@router.post("/events/{index}/predict", response_model=schemas.Prediction)
async def predict_event(service: Here, index: int, run: RunName) -> JSONResponse:
    """Ask a model about an event of the store."""
    reply, _ = await service.asked(PREDICT, run, index)
    return JSONResponse({"answer": service.answer(run, index, reply)})


@router.post("/events/{index}/explain", response_model=schemas.Explanation)
async def explain(service: Here, index: int, run: RunName) -> JSONResponse:
    """Ask a model about an event of the store, and why; the reason is null for models that give none."""
    return JSONResponse(await service.explained(run, index))


@router.post("/predict", response_model=schemas.Uploaded)
async def predict(
    service: Here,
    files: Annotated[list[UploadFile], File(description="DUNE .gz, PNG pair, NuHepMC or MINERvA .root files")],
    run: Annotated[str | None, Query(max_length=200, description="without a run events are only shown")] = None,
    views: Annotated[str, Query(max_length=200, description="views that stand for the model's, as view2,view0")] = "",
    scale: Annotated[Scale | None, Query(description="grey levels are energies in this scale")] = None,
    full: Annotated[float | None, Query(gt=0, le=1e6, description="GeV of the brightest level")] = None,
    knee: Annotated[float | None, Query(gt=0, le=1e6, description="GeV, of the logarithmic scale")] = None,
) -> JSONResponse:
    """Read files, and ask a model about their events."""
    given = [(file.filename or "", file.file) for file in files]
    told = {"scale": scale, "full": full, "knee": knee}
    settings = {name: value for name, value in told.items() if value is not None}
    wanted = tuple(views.split(",")) if views else None
    return JSONResponse(await service.upload(run or None, given, wanted, settings))


@router.get("/uploads/{upload}/events/{index}", response_model=schemas.Event)
def upload_event(service: Here, upload: str, index: int) -> JSONResponse:
    """All about one event of an upload."""
    return JSONResponse(service.uploads.open(upload).event(index))


@router.get("/uploads/{upload}/events/{index}/views/{view}.png", response_class=Response, responses=PNG)
async def upload_picture(
    service: Here, upload: str, index: int, view: str, scale: Scale = "log", truth: bool = False
) -> Response:
    """An image of one view of an uploaded event."""
    found = service.uploads.open(upload)
    return Response(await service.picture(upload, found, index, view, scale, truth=truth), media_type="image/png")


@router.get("/uploads/{upload}/events/{index}/views/{view}", response_model=schemas.Pixels)
def upload_view(service: Here, upload: str, index: int, view: str) -> JSONResponse:
    """Non-empty pixels of one view of an uploaded event."""
    return JSONResponse(service.uploads.open(upload).view(index, view))


@router.get("/uploads/{upload}/events/{index}/cloud", response_model=schemas.Cloud)
def upload_cloud(service: Here, upload: str, index: int) -> JSONResponse:
    """Tokens of an uploaded event."""
    return JSONResponse(service.uploads.open(upload).cloud(index))


@router.get("/runs/{run}", response_model=schemas.RunPage)
def run_page(service: Here, run: str) -> JSONResponse:
    """Metrics with intervals, confusion, curves and bins of a run."""
    return JSONResponse(service.page_of(run))


@router.get("/compare", response_model=schemas.Comparison)
async def compare(
    service: Here, runs: Annotated[str, Query(max_length=1000, description="names, separated by commas")]
) -> JSONResponse:
    """Runs side by side on the events that all of them answered about."""
    return JSONResponse(await service.compared(tuple(name for name in runs.split(",") if name)))
