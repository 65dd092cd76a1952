"""What the tests of the server share: a real server on loopback, pictures as data URLs, and requests by hand."""

import base64
import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image

from llava.inference.session import Session
from llava.server.app import build_app
from llava.server.config import ServerConfig
from llava.server.engine import Engine
from llava.server.metrics import Metrics
from llava.server.run import listen, make_server


@dataclass(frozen=True, kw_only=True)
class Served:
    """A running server."""

    engine: Engine
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def send(
        self, method: str, path: str, body: bytes | Iterator[bytes] | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def post(self, request: Any, **headers: str) -> tuple[int, Any]:
        """Status and JSON of a chat completion."""
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        given = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
        status, _, answer = self.send("POST", "/v1/chat/completions", body, given)
        return status, json.loads(answer)

    def metric(self, name: str) -> float:
        """The sum of all that a metric counts."""
        lines = self.engine.metrics.text().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


@contextmanager
def serving(session: Session, *, stock: Session | None = None, mount: Any = None, **settings: Any) -> Iterator[Served]:
    """A server on a free port of loopback, stopped at the end as a signal would stop it."""
    config = ServerConfig(**{"port": 0, "model_name": "tiny", **settings})
    engine = Engine(session, config, Metrics(), stock=stock)
    listener = listen(config)
    server = make_server(build_app(engine, mount), config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        yield Served(engine=engine, port=listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()
        assert not thread.is_alive()
        assert not engine.alive


def picture(seed: int = 0, size: tuple[int, int] = (97, 61)) -> Image.Image:
    """A small picture of its own for each seed."""
    noise = Image.linear_gradient("L").rotate(37 * seed).resize(size)
    return Image.merge(
        "RGB", (noise, noise.transpose(Image.Transpose.ROTATE_180), Image.new("L", size, 40 * seed % 256))
    )


def file_of(image: Image.Image, form: str = "PNG") -> bytes:
    file = BytesIO()
    image.save(file, form)
    return file.getvalue()


def data_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def image_part(image: Image.Image | bytes, **more: Any) -> dict[str, Any]:
    data = image if isinstance(image, bytes) else file_of(image)
    return {"type": "image_url", "image_url": {"url": data_url(data), **more}}


def user(*parts: str | dict[str, Any]) -> dict[str, Any]:
    content = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    return {"role": "user", "content": content}


def ask(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": list(messages), **more}
