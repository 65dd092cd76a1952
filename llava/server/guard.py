"""The door: who may come in, by which name, and with how large a body."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from llava.server.config import ServerConfig
from llava.server.errors import RequestError
from llava.server.metrics import Metrics

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = ("/health", "/ready")
"""Paths that say nothing but whether the server is well."""
KEYED = ("/v1", "/metrics")
"""Paths, with all below them, that need a key where there are keys; the web page has its own login."""
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
_KNOWN = ("/v1/chat/completions", "/v1/models", "/metrics", *OPEN)


class Keys:
    """The keys, compared in a time that tells nothing of them."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def find(self, given: str) -> int | None:
        """The place of a key; None if it is none."""
        wanted, found = _digest(given), None
        for place, digest in enumerate(self._digests):
            if hmac.compare_digest(wanted, digest):
                found = place
        return found


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


class Guard:
    """Wraps an ASGI application; what it refuses never reaches it.

    Puts into the scope's ``state`` who asks, as ``client``: the place of the key, or the address.
    """

    def __init__(self, app: App, config: ServerConfig, metrics: Metrics) -> None:
        self._app, self._config, self._metrics = app, config, metrics
        self._keys = Keys(config.api_keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        status = 500
        ident = secrets.token_hex(8).encode()

        async def answer(message: dict[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), (b"x-request-id", ident)]}
            await send(message)

        try:
            try:
                self._let_in(scope)
            except RequestError as error:
                await _refuse(error, answer)
                return
            await self._app(scope, self._bounded(receive), answer)
        finally:
            path = scope["path"] if scope["path"] in _KNOWN else "other"
            self._metrics.requests.labels(path, str(status)).inc()

    def _let_in(self, scope: Scope) -> None:
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        self._check_name(headers.get(b"host", ""))
        path = scope["path"]
        place: int | None = None
        if self._keys and any(path == door or path.startswith(f"{door}/") for door in KEYED):
            kind, _, given = headers.get(b"authorization", "").partition(" ")
            place = self._keys.find(given.strip()) if kind.lower() == "bearer" else None
            if place is None:
                raise RequestError(
                    "a valid key is needed; send it as Authorization: Bearer KEY",
                    status=401,
                    code="invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )
        peer = (scope.get("client") or ("unknown",))[0]
        scope.setdefault("state", {})["client"] = f"key {place}" if place is not None else f"address {peer}"
        length = headers.get(b"content-length", "0")
        if not length.isdecimal() or int(length) > self._config.body_bytes:
            raise too_large(self._config)

    def _check_name(self, host: str) -> None:
        """On loopback without keys, a page of the Web must not get in under a name of its own that leads here."""
        if not self._config.api_keys:
            name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
            if name.lower() not in (*_LOCAL_NAMES, self._config.host.lower()):
                raise RequestError(
                    f"this server is asked under the name {name[:80]!r}, and knows localhost and 127.0.0.1 only",
                    status=403,
                    code="unknown_host",
                )

    def _bounded(self, receive: Receive) -> Receive:
        taken = 0

        async def counted() -> dict[str, Any]:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._config.body_bytes:
                raise too_large(self._config)
            return message

        return counted


def too_large(config: ServerConfig) -> RequestError:
    """The body is larger than the server takes."""
    return RequestError(
        f"the request is larger than {config.body_megabytes:g} MiB; send smaller or fewer pages",
        status=413,
        code="body_too_large",
        headers={"Connection": "close"},
    )


async def _refuse(error: RequestError, send: Send) -> None:
    body = json.dumps(error.body).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **error.headers}
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
