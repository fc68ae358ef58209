"""Anything at all: requests made from the service's own schema, and damaged files of every format.

The suite takes a part; all of it, with the numbers that docs/serve.md gives::

    NUADAPT_FUZZ_CASES=2000 NUADAPT_FUZZ_FILES=1000 python -m pytest tests/serve/test_fuzz.py -s
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from nuadapt.serve.settings import Limits, ServeSettings

CASES = int(os.environ.get("NUADAPT_FUZZ_CASES", "110"))  # requests, of all operations together
FILES = int(os.environ.get("NUADAPT_FUZZ_FILES", "8"))  # damaged files of each format
#: What a request may end in. 401 and 403 need other settings; 408 and 504 a slow machine or a hostile file.
EXPECTED = {200, 400, 404, 405, 413, 415, 422, 429, 503}


def report(words: str) -> None:
    """A line for whoever measures (pytest -s)."""
    os.write(1, f"\n{words}\n".encode())


def all_operations(client: TestClient) -> list[Any]:
    """The operations of the service's own schema."""
    schemathesis = pytest.importorskip("schemathesis")
    schema = schemathesis.openapi.from_dict(client.get("/api/openapi.json").json())
    return [result.ok() for result in schema.get_all_operations()]


def send(client: TestClient, case: Any) -> Any:
    """The answer to a generated request. What no HTTP library can send is no case."""
    given = case.as_transport_kwargs(base_url="http://127.0.0.1:8000")
    given.pop("cookies", None)
    headers = {k: v for k, v in dict(given.pop("headers", {})).items() if k.lower() not in ("host", "content-length")}
    wanted = {k: given[k] for k in ("method", "url", "params", "json", "data", "files") if given.get(k) is not None}
    if isinstance(wanted.get("data"), bytes | str):
        wanted["content"] = wanted.pop("data")
    return client.request(**wanted, headers=headers)


def test_the_schema_finds_no_request_that_breaks_the_service(maps: TestClient, mutating: ModuleType) -> None:
    from schemathesis import GenerationMode

    operations, seen = all_operations(maps), Counter()
    upload = maps.post("/api/predict", files=[("files", file) for file in mutating.png_pair()]).json()["upload"]
    each = math.ceil(CASES / sum(1 for operation in operations if _takes_input(operation)))
    for operation in operations:
        kinds = GenerationMode if _takes_input(operation) else [GenerationMode.POSITIVE]
        modes = [operation.as_strategy(generation_mode=mode) for mode in kinds]
        modes.append(operation.as_strategy(**_sensible(operation, upload)))

        @settings(
            max_examples=each, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None
        )
        @given(case=st.one_of(modes))
        def ask(case: Any) -> None:
            try:
                answer = send(maps, case)
            except (UnicodeError, ValueError, TypeError):  # the client refuses to send it
                seen["not sent"] += 1
                return
            seen[answer.status_code] += 1
            assert answer.status_code in EXPECTED, f"{case.method} {case.formatted_path}: {answer.text}"
            if answer.status_code >= 400:
                assert set(answer.json()["error"]) == {"what", "where", "expected", "next_step"}
            elif "json" in answer.headers["content-type"]:
                case.validate_response(answer, checks=_checks())

        ask()
    report(f"requests from the schema: {sum(v for k, v in seen.items() if k != 'not sent')}; by status {dict(seen)}")
    assert sum(v for k, v in seen.items() if k != "not sent") >= 0.8 * CASES  # some operations run out of cases


def _sensible(operation: Any, upload: str) -> dict[str, dict[str, Any]]:
    """Names of things that are there, so that requests get behind the first check."""
    there = {"index": 5, "view": "xz", "run": "cnn-all", "runs": "cnn-all,other-test", "upload": upload}
    given: dict[str, dict[str, Any]] = {"path_parameters": {}, "query": {}}
    for parameter in operation.iter_parameters():
        place = given["path_parameters"] if parameter.location.value == "path" else given["query"]
        if parameter.name in there:
            place[parameter.name] = there[parameter.name]
    return {place: values for place, values in given.items() if values}


def _takes_input(operation: Any) -> bool:
    """Whether there is more than one request, and a wrong one."""
    return bool(list(operation.iter_parameters()) or operation.body)


def _checks() -> list[Any]:
    """A good answer has the form that the schema says."""
    from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

    return [content_type_conformance, response_schema_conformance]


@pytest.mark.parametrize("kind", ["dune-cvn", "png-pairs", "nuhepmc", "minerva"])
def test_damaged_files_are_refused_or_read(
    kind: str,
    map_settings: ServeSettings,
    start: Callable[..., TestClient],
    mutating: ModuleType,
    shared_data: Path,
) -> None:
    limits = Limits(upload_events=20, parse_seconds=60, uploads_kept=4)
    with start(map_settings, limits=limits, places=()) as client:
        process = psutil.Process()
        files = mutating.samples(shared_data)[kind]
        assert client.post("/api/predict", files=[("files", f) for f in files]).status_code in (200, 413)
        before, seen, slowest = process.memory_info().rss, Counter(), 0.0
        for damaged in mutating.mutations(files, FILES, seed=3):
            began = time.monotonic()
            answer = client.post("/api/predict", files=[("files", f) for f in damaged])
            slowest = max(slowest, time.monotonic() - began)
            seen[answer.status_code] += 1
            assert answer.status_code in (200, 413, 422), answer.text
            if answer.status_code != 200:
                assert answer.json()["error"]["what"]
        grown = (process.memory_info().rss - before) / 1e6
        report(f"{kind}: {FILES} damaged files, {dict(seen)}, slowest {slowest:.1f} s, memory +{grown:.0f} MB")
        assert client.get("/health").status_code == 200
        assert grown < 100
        assert not [p for p in Path(client.app.app.state.service.uploads.folder).iterdir() if p.name.startswith(".")]  # type: ignore[attr-defined]
