"""The web page at ``/``: drop a picture or a PDF, ask, and see what was kept for the question.

Gradio draws it; everything is answered by the engine, in turn with the endpoint's requests. ``page_door`` stands before
Gradio.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import gradio as gr
from fastapi import FastAPI
from gradio.utils import get_upload_folder

from llava.inference.decoding import find_decoding
from llava.inference.dialog import Reply
from llava.inference.picture import pdf_long_side
from llava.server import figures
from llava.server.app import Endpoint
from llava.server.config import ServerConfig
from llava.server.errors import RequestError
from llava.server.files import PageFile
from llava.server.guard import Keys
from llava.server.jobs import Asked, AskedTurn, Draft, Way
from llava.server.page_door import PageDoor
from llava.server.wire import draft_of

_EXAMPLES = Path(__file__).parent.parent / "assets" / "typed"
_CSS = """
.answer, .draft { font-size: 1.4rem; margin: .25rem 0 } .draft { opacity: .7 }
figure { margin: 0 } figure img { max-width: 100%; height: auto }
th { text-align: left; font-weight: normal; padding-right: 1.5rem } caption { text-align: left; font-weight: bold }
"""
_SCRIPT = """() => { for (const id of ["answer", "stock"]) {
  const place = document.getElementById(id);
  if (place) { place.setAttribute("aria-live", "polite"); place.setAttribute("role", "status"); }
} }"""
"""Answers are read out as they come."""


def mount_page(app: FastAPI, endpoint: Endpoint, *, config: ServerConfig) -> FastAPI:
    """Put the page behind the routes of an application; with keys, it asks for one of them as the password."""
    keys = Keys(config.api_keys)
    page = build_page(endpoint)
    page.queue(max_size=config.queue, default_concurrency_limit=config.batch)
    mounted = gr.mount_gradio_app(
        app,
        page,
        path="/",
        auth=(lambda user, password: keys.find(password) is not None) if keys else None,
        auth_message="Any name, and a key of this server as the password." if keys else None,
        max_file_size=config.body_bytes,
        show_error=True,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        enable_monitoring=False,
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        css=_CSS,
        js=_SCRIPT,
    )
    for route in mounted.routes:
        if getattr(route, "path", None) == "" and hasattr(route, "app"):
            route.app = PageDoor(route.app, readable=(get_upload_folder(), str(_EXAMPLES)))
    return mounted


def build_page(endpoint: Endpoint) -> gr.Blocks:
    """The page over an endpoint."""
    asking = _Asking(endpoint)
    compares = "stock" in endpoint.engine.sessions
    with gr.Blocks(title="LaViDa with SHIRG-X", analytics_enabled=False) as page:
        gr.Markdown(
            "# Ask a page\nLaViDa reads a page and fills in its answer all at once. SHIRG-X shows it the patches that "
            "matter for the question."
        )
        with gr.Row():
            with gr.Column():
                upload = gr.File(label="Picture or PDF", file_types=["image", ".pdf"], height=140)
                number = gr.Number(label="Page of the PDF", value=1, minimum=1, precision=0)
                question = gr.Textbox(label="Question", placeholder="What is the total?", max_length=2000)
                compare = gr.Checkbox(label="Ask LaViDa's own encoding too", value=compares, visible=compares)
                button = gr.Button("Ask", variant="primary")
                gr.Examples(_examples(), [upload, question], label="Examples", api_visibility="private")
                shown = gr.HTML(elem_id="page")
            with gr.Column():
                gr.Markdown("## Answer")
                answer = gr.HTML(elem_id="answer")
                stock_head = gr.Markdown("### LaViDa's own encoding", visible=compares)
                stock = gr.HTML(elem_id="stock", visible=compares)
                facts = gr.HTML(elem_id="facts")
                film = gr.HTML(elem_id="film")
                kept = gr.HTML(elem_id="kept")
        del stock_head
        inputs, outputs = [upload, number, question, compare], [answer, stock, facts, film, kept]
        for event in (upload.change, number.change):
            event(asking.preview, [upload, number], [shown], show_progress="hidden", api_visibility="private")
        for event in (button.click, question.submit):
            event(asking.answer, inputs, outputs, show_progress="hidden", api_visibility="private")
    return page


class _Asking:
    """What the page's buttons do."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint, self.engine = endpoint, endpoint.engine

    async def preview(self, path: str | None, number: int | None) -> str:
        """The page that is chosen."""
        if path is None:
            return ""
        try:
            return await asyncio.to_thread(self._draw_preview, path, number)
        except ValueError as error:
            return figures.refusal(str(error))

    def _draw_preview(self, path: str, number: int | None) -> str:
        views = getattr(self.engine.sessions["model"].model.config, "image_view", None)
        file = _file(path, number)
        if file.pixels() > self.engine.config.megapixels * 1e6:
            raise ValueError(f"the page has more than {self.engine.config.megapixels:g} million pixels; scale it down")
        picture = file.draw(long_side=pdf_long_side(views), limits=self.engine.config.page_limits)
        return figures.preview(picture.image)

    async def answer(
        self, path: str | None, number: int | None, question: str, compare: bool, request: gr.Request
    ) -> AsyncIterator[tuple[str, ...]]:
        """The answer as it forms, and in the end all about it."""
        told = ["", "", "", "", ""]
        drafts: list[str] = []
        try:
            if path is None:
                raise RequestError("drop a picture or a PDF first")
            async for event in self._events(path, number, question, "model", request):
                if isinstance(event, Reply):
                    told[0], told[2], told[3] = figures.answer(event.text), figures.facts(event), figures.film(drafts)
                    told[4] = await asyncio.to_thread(figures.kept, event, question)
                else:
                    drafts.append(event)
                    told[0] = figures.draft(event)
                yield tuple(told)
            if compare and "stock" in self.engine.sessions:
                async for event in self._events(path, number, question, "stock", request):
                    told[1] = figures.answer(event.text) if isinstance(event, Reply) else figures.draft(event)
                    yield tuple(told)
        except (RequestError, ValueError) as error:
            told[0] = figures.refusal(str(error))
            yield tuple(told)

    async def _events(
        self, path: str, number: int | None, question: str, way: Way, request: gr.Request
    ) -> AsyncIterator[str | Reply]:
        turn = AskedTurn(role="user", parts=(await asyncio.to_thread(_file, path, number), question))
        session = self.engine.sessions[way]
        self.engine.enter()
        try:
            asked = Asked(turns=(turn,), decoding=find_decoding("fast"), way=way, streams=True)
            job = await self.endpoint.ask(asked, f"page {request.session_hash}")
            async for event in job.events():
                if isinstance(event, Draft):
                    yield draft_of(event.tokens, session.decode, session.model.config.mask_token_id)
                else:
                    yield event
        finally:
            self.engine.leave()


def _file(path: str, number: int | None) -> PageFile:
    # The page's door lets only paths of uploads in.
    return PageFile(data=Path(path).read_bytes(), name="the page", page=None if number is None else int(number))


def _examples() -> list[list[str]]:
    """A question about each of some bundled pages."""
    found: dict[str, str] = {}
    for entry in json.loads((_EXAMPLES / "pages.json").read_text()):
        found.setdefault(entry["image"], entry["question"])
    return [[str(_EXAMPLES / image), question] for image, question in found.items()]
