"""The door of the web page: of Gradio's paths only those are open that the page uses, and it reads only what was sent.

A mounted Gradio looks at no path that an event names as a file: it would hand over any file of the machine, and fetch
any address. Here every such path must be an upload, or a bundled example, before Gradio sees it.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from llava.server.guard import App, Receive, Scope, Send

_EVENTS = ("/gradio_api/queue/join", "/gradio_api/run/predict")
"""Where the page sends what its functions are given; examples go the second way."""
_OPEN = (
    *("/assets/", "/static/", "/svelte/", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt"),
    *("/config", "/login", "/logout", "/token", "/user", "/login_check", "/gradio_api/info", "/gradio_api/upload"),
    *("/gradio_api/queue/", "/gradio_api/file=", "/gradio_api/heartbeat/", "/gradio_api/startup-events"),
    *("/gradio_api/cancel", "/gradio_api/reset", "/gradio_api/app_id", "/gradio_api/login_check"),
    *("/gradio_api/token", "/gradio_api/user", "/gradio_api/run/predict"),
)
"""Beginnings of the paths that the page uses."""
_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; form-action 'self'"
)
"""Keeps what other sites serve out of the page, and the page out of other sites."""


class PageDoor:
    """Wraps Gradio's application.

    Args:
        readable: folders from which events may name files.
    """

    def __init__(self, app: App, *, readable: Sequence[str]) -> None:
        self._app = app
        self._readable = [Path(os.path.realpath(folder)) for folder in readable]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if path != "/" and not path.startswith(_OPEN):
            scope = {**scope, "path": "/nothing", "raw_path": b"/nothing"}
        elif path.startswith(_EVENTS):
            body = await _read(receive)
            if not self._may_read(body):
                await send({"type": "http.response.start", "status": 403, "headers": []})
                await send({"type": "http.response.body", "body": b"only files that were sent are read"})
                return
            receive = _again(body, receive)

        async def answer(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                more = ((b"content-security-policy", _POLICY.encode()), (b"x-content-type-options", b"nosniff"))
                message = {**message, "headers": [*message.get("headers", ()), *more]}
            await send(message)

        await self._app(scope, receive, answer)

    def _may_read(self, body: bytes) -> bool:
        """Whether all files that an event names are readable; what is no JSON is none of Gradio's events."""
        try:
            return all(self._is_readable(path) for path in named_paths(json.loads(body)))
        except (ValueError, RecursionError):
            return False

    def _is_readable(self, path: Any) -> bool:
        if not isinstance(path, str) or "://" in path or "\0" in path:
            return False
        found = Path(os.path.realpath(path))
        return any(found.is_relative_to(folder) and found != folder for folder in self._readable)


def named_paths(value: Any) -> Iterator[Any]:
    """What stands under ``path`` anywhere in a JSON value."""
    if isinstance(value, dict):
        if "path" in value:
            yield value["path"]
        for inner in value.values():
            yield from named_paths(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from named_paths(inner)


async def _read(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return body


def _again(body: bytes, receive: Receive) -> Receive:
    given = False

    async def first_the_body() -> dict[str, Any]:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return first_the_body
