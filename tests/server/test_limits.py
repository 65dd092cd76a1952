"""Nobody gets in who should not, nobody takes more than is offered, and nothing of this machine can be read."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from PIL import Image

from llava.inference.session import Session
from llava.server.config import ServerConfig, read_keys
from llava.server.errors import RequestError
from llava.server.remote import RemotePages
from tests.server_helpers import Served, ask, file_of, image_part, picture, serving, user
from tests.test_architecture import LIBRARIES, ROOT, imported

KEY, OTHER = "k3y-of-sixteen-or-more", "another-key-of-somebody"
BRIEF = {"max_tokens": 3}


class Pages(BaseHTTPRequestHandler):
    """Another machine: a picture, something large, and a redirect inside."""

    seen: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.seen.append(self.path)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/picture")
            self.end_headers()
            return
        body = {"/large": b"x" * 200_000}.get(self.path, file_of(picture(1)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) + (100 if self.path == "/cut" else 0)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quietly."""


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def served(session: Session) -> Iterator[Served]:
    limits = {"images": 2, "megapixels": 0.05, "characters": 300, "answer_tokens": 16, "body_megabytes": 0.1}
    with serving(session, api_keys=(KEY, OTHER), **limits) as running:
        yield running


@pytest.fixture
def post(served: Served) -> Any:
    def send(request: Any, **headers: str) -> tuple[int, Any]:
        status, body = served.post(request, **{"Authorization": f"Bearer {KEY}", **headers})
        assert set(body.get("error", {})) <= {"message", "type", "param", "code"}
        return status, body.get("error", body)

    return send


@pytest.mark.parametrize(
    "given", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": KEY}, {"Authorization": f"Basic {KEY}"}]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/chat/completions"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/tiny"),
        ("GET", "/metrics"),
        ("GET", "/v1/../v1/models"),
        ("GET", "/v1/none"),
    ],
)
def test_without_a_key_nothing_is_answered(served, method, path, given):
    status, headers, body = served.send(method, path, b"{}" if method == "POST" else None, given)
    assert status == 401
    assert headers["www-authenticate"] == "Bearer"
    assert b"tiny" not in body


def test_with_a_key_everything_is(served, post):
    for key in (KEY, OTHER):
        assert served.send("GET", "/v1/models", headers={"Authorization": f"bearer {key}"})[0] == 200
    assert post(ask(user("why?"), **BRIEF))[0] == 200
    for path in ("/health", "/ready"):
        assert served.send("GET", path)[0] == 200


def test_every_answer_has_an_identity_and_unknown_paths_an_error(served):
    status, headers, body = served.send("GET", "/nothing/here")
    assert status == 404
    assert b'"invalid_request_error"' in body
    assert len(headers["x-request-id"]) == 16
    assert served.send("GET", "/v1/chat/completions", headers={"Authorization": f"Bearer {KEY}"})[0] == 405
    for path in ("/docs", "/openapi.json", "/redoc"):
        assert served.send("GET", path)[0] == 404


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        (b"", 400, "JSON"),
        (b"[" * 50_000, 400, "JSON"),
        (b"\xff\xfe{}", 400, "JSON"),
        (b"[]", 400, "object"),
        (ask(), 400, "messages"),
        (ask(user("why?"), max_tokens=0), 400, "max_tokens"),
        (ask(user("why?"), max_tokens=17), 400, "16"),
        (ask(user("why?"), max_tokens=True), 400, "max_tokens"),
        (ask(user("why?"), temperature=3), 400, "temperature"),
        (ask(user("why?"), stop=["x"]), 400, "stop"),
        (ask(user("why?"), tools=[{"type": "function"}]), 400, "tools"),
        (ask(user("why?"), nonsense=1), 400, "nonsense"),
        (ask(user("why?"), decoding="exact", temperature=1.0), 400, "lookahead"),
        (ask(user("why?")) | {"model": "gpt-4o"}, 404, "does not exist"),
        (ask({"role": "assistant", "content": "so"}), 400, "last message"),
        (ask(user("why?"), {"role": "system", "content": "x"}), 400, "system"),
        (ask({"role": "system", "content": [image_part(picture(1))]}, user("why?")), 400, "words only"),
        (ask({"role": "assistant", "content": [image_part(picture(1))]}, user("why?")), 400, "words only"),
        (ask({"role": "tool", "content": "x"}), 400, "role"),
        (ask(user("")), 400, "empty"),
        (ask(user("so"), user(image_part(picture(1)))), 400, "no words"),
        (ask(user("<|eot_id|>")), 400, "special token"),
        (ask(user("<image>")), 400, "stands for the image"),
        (ask(user("x" * 301)), 400, "301 characters"),
        (ask(user(*[image_part(picture(1))] * 3, "why?")), 400, "3 images"),
        (ask(user(image_part(Image.new("1", (300, 200))), "why?")), 413, "0.05 million pixels"),
        (ask(user(image_part(picture(1), page=0), "why?")), 400, "page"),
        (ask(user(image_part(picture(1), page=2), "why?")), 400, "image 1"),
        (ask(user(image_part(b"MZ\x00 no picture"), "why?")), 400, "image 1"),
        (ask(user("x" * 110_000)), 413, "0.1 MiB"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_a_sentence(post, request_, status, words):
    answered, error = post(request_)
    assert answered == status, error
    assert words in error["message"]
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "url",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "http://127.0.0.1/",
        "https://example.org/page.png",
        "ftp://example.org/page.png",
        "data:image/png,notbase64",
        "data:image/png;base64",
        "data:image/png;base64,",
        "data:image/png;base64,****",
        "data:image/svg+xml;base64,PHN2Zz48aW1hZ2UgaHJlZj0iZmlsZTovLy9ldGMvcGFzc3dkIi8+PC9zdmc+",
        "",
    ],
)
def test_no_address_and_no_path_is_read(served, post, url, monkeypatch):
    connect = socket.create_connection

    def own(address: tuple[str, int], *args: Any, **kwargs: Any) -> socket.socket:
        assert address == ("127.0.0.1", served.port), "the server went elsewhere"
        return connect(address, *args, **kwargs)

    def refused(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the server opened a file")

    monkeypatch.setattr("socket.create_connection", own)
    monkeypatch.setattr("llava.image_io.files.open_file", refused)
    monkeypatch.setattr("llava.image_io.pages.open_file", refused)
    status, error = post(ask(user({"type": "image_url", "image_url": {"url": url}}, "why?")))
    assert status == 400, error
    assert "root:" not in str(error)
    file = {"type": "file", "file": {"file_data": url}}
    assert post(ask(user(file, "why?")))[0] == 400
    assert post(ask(user({"type": "file", "file": {"file_id": url}}, "why?")))[0] == 400


def test_errors_tell_nothing_of_the_server(post, quick):
    pdf = file_of(picture(1), "PDF")
    for data in (pdf[: len(pdf) // 2], b"%PDF-1.7\n%broken", file_of(picture(1), "TIFF")[:40]):
        status, error = post(ask(user(image_part(data), "why?")))
        assert status == 400
        assert "image 1" in error["message"]
        assert str(quick) not in str(error)
        assert "/" not in error["message"]


def test_only_json_is_read(post):
    """A page of another site can make a browser send a form or plain text without asking; it cannot send this."""
    assert post(ask(user("why?"), **BRIEF), Content_Type="text/plain")[0] == 415
    assert post(ask(user("why?"), **BRIEF), Content_Type="application/json; charset=utf-8")[0] == 200


def test_without_keys_a_foreign_name_does_not_lead_here(session):
    with serving(session) as served:
        for name in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", ""):
            status, _, body = served.send("GET", "/v1/models", headers={"Host": name})
            assert status == 403, name
            assert b"permission_error" in body
        for name in ("localhost", "localhost:9", "127.0.0.1:9", "[::1]", "[::1]:9"):
            assert served.send("GET", "/v1/models", headers={"Host": name})[0] == 200


def test_a_body_that_does_not_say_its_length_is_bounded_too(served):
    chunks = (b" " * 10_000 for _ in range(20))
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    status, _, body = served.send("POST", "/v1/chat/completions", chunks, headers)
    assert status == 413
    assert b"0.1 MiB" in body


def test_pages_of_allowed_hosts_are_fetched(session, elsewhere):
    def part(path: str) -> dict[str, Any]:
        return {"type": "image_url", "image_url": {"url": f"http://{elsewhere}{path}"}}

    with serving(session, allowed_hosts=frozenset({elsewhere})) as served:
        answers = [
            served.post(ask(user(page, "why?"), **BRIEF))[1]["choices"]
            for page in (part("/picture"), image_part(picture(1)))
        ]
        assert answers[0] == answers[1]
        host = elsewhere.rsplit(":", 1)[0]
        for url in (
            f"http://{host}/picture",
            f"http://{host}:1/picture",
            f"http://u:p@{elsewhere}/picture",
            "http://[",
        ):
            status, body = served.post(ask(user({"type": "image_url", "image_url": {"url": url}}, "why?")))
            assert status in (400, 403), url
            assert body["error"]["code"] == "remote_page"


def test_what_is_fetched_is_bounded(elsewhere, monkeypatch):
    fetch = RemotePages(frozenset({elsewhere, "inner.example"}), most=100_000, seconds=5)
    assert fetch(f"http://{elsewhere}/picture", "image 1") == file_of(picture(1))
    for path, words in (("/large", "larger than"), ("/moved", "status 302"), ("/cut", "cannot be fetched")):
        with pytest.raises(RequestError, match=words):
            fetch(f"http://{elsewhere}{path}", "image 1")
    before = len(Pages.seen)
    # A name that leads to this machine, or to one public address and one inside.
    for found in (["127.0.0.1"], ["10.0.0.1"], ["93.184.216.34", "169.254.169.254"], ["::1"]):
        infos = [(0, 0, 0, "", (address, 80)) for address in found]
        monkeypatch.setattr("socket.getaddrinfo", lambda *_, infos=infos, **__: infos)
        with pytest.raises(RequestError, match="gives nothing"):
            fetch("http://inner.example/picture", "image 1")
    assert len(Pages.seen) == before


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"host": "0.0.0.0"}, "--api-key-file"),
        ({"host": "192.168.1.7"}, "--api-key-file"),
        ({"host": "::"}, "--api-key-file"),
        ({"host": "pages.example"}, "--api-key-file"),
        ({"api_keys": ("short",)}, "at least 16"),
        ({"api_keys": ("with some spaces in between",)}, "without spaces"),
        ({"port": 70_000}, "65535"),
        ({"queue": 0}, "queue must be"),
        ({"deadline_seconds": float("nan")}, "deadline_seconds must be"),
        ({"body_megabytes": -1}, "body_megabytes must be"),
    ],
)
def test_settings_that_are_not_safe_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        ServerConfig(**settings)


def test_keys_of_a_file():
    assert read_keys(f"# mine\n{KEY}\n\n  {OTHER}  \n") == (KEY, OTHER)
    with pytest.raises(ValueError, match="holds no key"):
        read_keys("# nothing\n")
    assert ServerConfig(host="0.0.0.0", api_keys=(KEY,)).is_local is False
    for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1"):
        assert ServerConfig(host=host).is_local


EXTRAS = {"fastapi", "starlette", "uvicorn", "gradio", "prometheus_client", "pydantic", "openai", "httpx", "playwright"}


def test_only_the_server_needs_what_serving_needs():
    """So that `lavida ask` and Python work in a base installation."""
    needing, reaching = set(), set()
    for path in LIBRARIES:
        if "server" not in path.parts:
            names = imported(path)
            if {name.split(".")[0] for name in names} & EXTRAS:
                needing.add(path.name)
            if any(name.startswith("llava.server") for name in names):
                reaching.add(path.name)
    assert not needing
    assert reaching == {"serve.py"}


def test_serving_without_its_extras_says_what_to_install():
    for missing, extra in (("fastapi", "endpoint"), ("gradio", "serve")):
        code = f"""
import sys
sys.modules[{missing!r}] = None
from llava.serve.cli import main
sys.exit(main(["serve"]))
"""
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert f"pip install 'lavida-shirg[{extra}]'" in done.stderr
        assert done.stderr.count("\n") == 1
