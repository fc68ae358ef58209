"""Who may ask: token, host names, other sites; what every answer carries; what a body may be."""

from __future__ import annotations

import hmac
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from nuadapt.errors import ConfigError
from nuadapt.serve.run import with_token
from nuadapt.serve.security import CONTENT_POLICY, HEADERS
from nuadapt.serve.settings import (
    VARIABLE,
    Limits,
    ServeSettings,
    prepared,
    settings_from_environment,
    write_settings,
)

TOKEN = "a-token-of-enough-letters"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def locked(map_settings: ServeSettings, start: Callable[..., TestClient]) -> Iterator[TestClient]:
    """A service that other machines can reach."""
    with start(map_settings, host="0.0.0.0", token=TOKEN) as client:
        yield client


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": TOKEN},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer \xff\xfe"},
    ],
)
def test_nothing_is_told_without_the_token(headers: dict[str, str], locked: TestClient) -> None:
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    for path in ("/api/data", "/api/events", "/api/events/0", "/api/openapi.json", "/api/nothing"):
        answer = locked.get(path, headers=raw)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert "token" in answer.json()["error"]["what"]
    assert locked.post("/api/predict", headers=raw, files={"files": b"x"}).status_code == 401


def test_the_token_opens_and_health_needs_none(locked: TestClient) -> None:
    assert locked.get("/api/data", headers=BEARER).status_code == 200
    assert locked.get("/health").status_code == 200


def test_tokens_are_compared_in_constant_time(locked: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: seen.append((a, b)) or real(a, b))
    locked.get("/api/data", headers={"Authorization": "Bearer wrong"})
    assert seen == [(b"wrong", TOKEN.encode())]


def test_other_machines_need_a_token() -> None:
    with pytest.raises(ConfigError, match="token"):
        ServeSettings("f.h5", host="0.0.0.0")
    with pytest.raises(ConfigError, match="weak"):
        ServeSettings("f.h5", host="0.0.0.0", token="short")
    token, made = with_token("0.0.0.0", None)
    assert made
    assert len(token) >= 32
    assert token != with_token("0.0.0.0", None)[0]
    assert with_token("127.0.0.1", None) == ("", False)
    assert with_token("0.0.0.0", TOKEN) == (TOKEN, False)


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil:8000", "192.168.0.1:8000"]
)
def test_other_host_names_are_refused_on_loopback(host: str, maps: TestClient) -> None:
    assert maps.get("/api/data", headers={"Host": host}).status_code == 403
    assert maps.get("/", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost:8000", "LOCALHOST", "127.0.0.1:9", "[::1]:8000"])
def test_names_of_this_machine_are_not(host: str, maps: TestClient) -> None:
    assert maps.get("/api/data", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "http://[bad", "file://"])
def test_other_sites_change_nothing(origin: str, maps: TestClient) -> None:
    answer = maps.post("/api/predict", headers={"Origin": origin}, files={"files": b"x"})
    assert answer.status_code == 403
    assert maps.post("/api/events/0/explain?run=cnn-all", headers={"Origin": origin}).status_code == 403


def test_behind_a_proxy_the_token_is_what_counts(locked: TestClient) -> None:
    asked = {"Origin": "https://events.example", "Host": "inside:8000"}
    path = "/api/events/0/explain?run=cnn-all"
    assert locked.post(path, headers=asked).status_code == 401
    assert locked.post(path, headers=asked | BEARER).status_code == 200


def test_the_page_itself_may(maps: TestClient) -> None:
    answer = maps.post("/api/predict", headers={"Origin": "http://127.0.0.1:8000"}, files={"files": b"x"})
    assert answer.status_code == 422  # it is looked at


@pytest.mark.parametrize("path", ["/health", "/api/data", "/api/nothing", "/", "/api/events?limit=x"])
def test_every_answer_has_the_headers_and_no_cors(path: str, maps: TestClient) -> None:
    answer = maps.get(path, headers={"Origin": "http://evil.example"})
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    assert not [name for name in answer.headers if name.startswith("access-control")]
    refused = maps.get(path, headers={"Host": "evil.example"})
    assert refused.headers["content-security-policy"] == CONTENT_POLICY


def test_no_cors_preflight_succeeds(maps: TestClient) -> None:
    ask = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    answer = maps.options("/api/predict", headers=ask)
    assert answer.status_code >= 400
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_policy_allows_no_inline_scripts() -> None:
    assert "default-src 'none'" in CONTENT_POLICY
    assert "unsafe" not in CONTENT_POLICY
    assert "frame-ancestors 'none'" in CONTENT_POLICY


def test_large_bodies_are_refused_by_their_own_word(maps: TestClient, map_settings: ServeSettings) -> None:
    most = map_settings.limits.upload_bytes
    answer = maps.post("/api/predict", files={"files": b"\0" * (most + 1)})
    assert answer.status_code == 413
    assert f"{most:,}" in answer.json()["error"]["expected"]


def test_large_bodies_are_refused_while_they_come(maps: TestClient, map_settings: ServeSettings) -> None:
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        for _ in range(map_settings.limits.upload_bytes // 100_000 + 2):
            sent += 100_000
            yield b"\0" * 100_000
        yield b"\r\n--b--\r\n"

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = maps.post("/api/predict", content=body(), headers=kind)  # no Content-Length
    assert answer.status_code == 413
    assert sent > map_settings.limits.upload_bytes


def test_other_requests_have_small_bodies(maps: TestClient) -> None:
    assert maps.post("/api/events/0/explain?run=cnn-all", content=b"x" * 100_000).status_code == 413


def test_a_body_that_does_not_come_is_not_waited_for(map_settings: ServeSettings) -> None:
    import asyncio

    from nuadapt.serve.security import Guard

    async def reads(scope: dict, receive: Callable, send: Callable) -> None:
        await receive()

    async def never() -> dict:
        await asyncio.sleep(60)
        return {}

    limits = Limits(body_seconds=0.05)
    guard = Guard(reads, ServeSettings(map_settings.data, limits=limits))
    scope = {"type": "http", "path": "/api/predict", "method": "POST", "headers": [(b"host", b"localhost")]}

    async def nothing(message: dict) -> None:
        return None

    with pytest.raises(Exception, match="408"):
        asyncio.run(guard(scope, never, nothing))


def test_settings_reach_workers_in_a_private_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    settings = prepared(ServeSettings("f.h5", ("a", "b"), "0.0.0.0", 80, TOKEN, 2, limits=Limits(upload_files=3)))
    folder = Path(settings.temporary)
    path = write_settings(settings)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    monkeypatch.setenv(VARIABLE, str(path))
    assert settings_from_environment() == settings


@pytest.mark.parametrize("wrong", [{"upload_bytes": 0}, {"parse_seconds": -1.0}, {"waiting": 0}])
def test_impossible_limits_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Limits(**wrong)  # type: ignore[arg-type]
