"""The endpoint: ``/v1/chat/completions``, ``/v1/models``, ``/health``, ``/ready`` and ``/metrics``."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from llava.inference.dialog import Reply
from llava.server.dialogs import read_dialog
from llava.server.engine import Engine
from llava.server.errors import RequestError, internal, too_late
from llava.server.files import Fetch
from llava.server.guard import App, Guard
from llava.server.jobs import Asked, Draft, Job
from llava.server.remote import RemotePages
from llava.server.schema import ChatRequest, read_request
from llava.server.wire import DONE, Completion, Settled, draft_of, failed

_BODY_SECONDS = 30.0
"""For a client to send its request."""
_DRAWERS = 4
"""Pages that are drawn at the same time; each may take a process of its own."""


class Endpoint:
    """The routes over an engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.config = engine, engine.config
        self._created = int(time.time())
        self._drawers = ThreadPoolExecutor(_DRAWERS, thread_name_prefix="lavida-pages")
        config = engine.config
        self._fetch: Fetch | None = None
        if config.allowed_hosts:
            self._fetch = RemotePages(config.allowed_hosts, most=config.body_bytes, seconds=config.remote_seconds)

    def close(self) -> None:
        """Finish what runs."""
        self.engine.close(self.config.shutdown_seconds)
        self._drawers.shutdown(wait=False, cancel_futures=True)

    async def ask(self, asked: Asked, client: str) -> Job:
        """Draw the pages of a request, and let it wait for its turn. Its place must have been taken.

        Raises:
            RequestError: for what cannot be asked.
        """
        loop, born = asyncio.get_running_loop(), time.monotonic()
        try:
            async with asyncio.timeout(self.config.deadline_seconds):
                await loop.run_in_executor(self._drawers, self.engine.check, asked)
                pictures = await loop.run_in_executor(self._drawers, self.engine.draw, asked)
        except TimeoutError:
            raise too_late(self.config.deadline_seconds) from None
        job = Job(asked, pictures, born=born, deadline=self.config.deadline_seconds)
        self.engine.submit(job, client)
        return job

    async def complete(self, request: Request) -> Response:
        """``/v1/chat/completions``."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            # What a foreign page can make a browser send without asking is not JSON.
            raise RequestError("send the request as JSON, with Content-Type: application/json", status=415)
        engine, streamed = self.engine, False
        engine.enter()
        try:
            try:
                async with asyncio.timeout(_BODY_SECONDS):
                    body = await request.body()
            except TimeoutError:
                raise RequestError("the request did not come in time; send it at once", status=408) from None
            chat = read_request(body)
            del body
            asked = await asyncio.get_running_loop().run_in_executor(
                self._drawers, read_dialog, chat, self.config, self._fetch
            )
            job = await self.ask(asked, request.state.client)
            completion = Completion(model=self.config.model_name)
            if chat.stream:
                streamed = True
                return _Stream(self._stream(job, chat, completion), on_end=partial(self._finish, job))
            reply = await _while_connected(request, job)
            return JSONResponse(completion.whole(reply, ended=self._ended(reply)))
        finally:
            if not streamed:
                engine.leave()

    async def _stream(self, job: Job, chat: ChatRequest, completion: Completion) -> AsyncIterator[bytes]:
        session = self.engine.sessions[job.asked.way]
        mask = session.model.config.mask_token_id
        settled = Settled(decode=session.decode, mask_id=mask)
        events = job.events()
        try:
            yield completion.first()
            async for event in events:
                if isinstance(event, Draft):
                    draft = draft_of(event.tokens, session.decode, mask)
                    yield completion.draft(settled.more(event.tokens), draft, event.step)
                    continue
                yield completion.last(settled.rest(event.text), event, ended=self._ended(event))
                if chat.stream_options is not None and chat.stream_options.include_usage:
                    yield completion.usage(event)
            yield DONE
        except RequestError as error:
            yield failed(error)

    def _finish(self, job: Job) -> None:
        job.give_up()
        self.engine.leave()

    def _ended(self, reply: Reply) -> bool:
        """Whether an answer came to its own end."""
        config = self.engine.sessions["model"].model.config
        return reply.tokens[reply.told - 1] in (config.eot_token_id, config.eos_token_id)

    async def models(self) -> dict[str, Any]:
        """``/v1/models``."""
        about = {"id": self.config.model_name, "object": "model", "created": self._created, "owned_by": "lavida"}
        return {"object": "list", "data": [about]}

    async def model(self, name: str) -> dict[str, Any]:
        """``/v1/models/NAME``."""
        if name != self.config.model_name:
            raise RequestError("there is no such model", status=404, code="model_not_found", param="model")
        return (await self.models())["data"][0]

    async def health(self) -> JSONResponse:
        """``/health``: whether the server lives."""
        alive = self.engine.alive
        return JSONResponse({"status": "ok" if alive else "failed"}, status_code=200 if alive else 503)

    async def ready(self) -> JSONResponse:
        """``/ready``: whether it takes what is new."""
        ready = self.engine.ready
        return JSONResponse({"status": "ready" if ready else "not ready"}, status_code=200 if ready else 503)

    async def metrics(self) -> Response:
        """``/metrics``."""
        return Response(self.engine.metrics.text(), media_type="text/plain; version=0.0.4")


class _Stream(StreamingResponse):
    """A stream of events; ``on_end`` is called however it ends, also when it never began."""

    def __init__(self, chunks: AsyncIterator[bytes], *, on_end: Callable[[], None]) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(chunks, media_type="text/event-stream", headers=headers)
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()


async def _while_connected(request: Request, job: Job) -> Reply:
    """The reply; the job is given up when its client goes away."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    answering, leaving = asyncio.create_task(job.reply()), asyncio.create_task(gone())
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise RequestError("the client has gone", status=499)
        return answering.result()
    finally:
        for task in (answering, leaving):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task


def build_app(engine: Engine, mount: Callable[[FastAPI, Endpoint], FastAPI] | None = None) -> App:
    """The whole application. The engine starts and ends with it.

    Args:
        mount: puts a web page behind the routes.
    """
    endpoint = Endpoint(engine)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        try:
            yield
        finally:
            await asyncio.to_thread(endpoint.close)

    app = FastAPI(title="LaViDa", lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    app.add_api_route("/v1/chat/completions", endpoint.complete, methods=["POST"], response_model=None)
    app.add_api_route("/v1/models", endpoint.models)
    app.add_api_route("/v1/models/{name:path}", endpoint.model)
    app.add_api_route("/health", endpoint.health, response_model=None)
    app.add_api_route("/ready", endpoint.ready, response_model=None)
    app.add_api_route("/metrics", endpoint.metrics, response_model=None)
    app.add_exception_handler(RequestError, _tell)
    app.add_exception_handler(HTTPException, _tell_http)
    app.add_exception_handler(Exception, _tell_unforeseen)
    if mount is not None:
        app = mount(app, endpoint)
    return Guard(app, engine.config, engine.metrics)  # type: ignore[arg-type]


async def _tell(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return JSONResponse(error.body, status_code=error.status, headers=error.headers)


async def _tell_http(_: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    words = {404: "there is nothing at this path", 405: "this path is not asked that way"}
    told = RequestError(words.get(status, "the request cannot be read"), status=status)
    return JSONResponse(told.body, status_code=status, headers=getattr(error, "headers", None))


async def _tell_unforeseen(_: Request, error: Exception) -> Response:
    return JSONResponse(internal().body, status_code=500)
