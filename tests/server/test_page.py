"""The web page in a real browser: Debian's Chromium, driven by Playwright. ``make browser`` brings both.

``build/browser`` gets the pictures of what was seen.
"""

import http.server
import json
import os
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from llava.inference.session import Session
from llava.server.config import ServerConfig
from shirg.config import ShirgXConfig
from tests.server_helpers import Served, serving

sync_api = pytest.importorskip("playwright.sync_api", reason="make browser installs what this needs")

from llava.server.page import mount_page  # noqa: E402 (needs Gradio)

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "llava" / "assets" / "typed" / "doc_page_0.png"
QUESTION = "What is the spare key in the text?"
PICTURES = ROOT / "build" / "browser"
KEY = "k3y-of-sixteen-or-more"
PATIENCE = 120_000
"""Milliseconds for anything to happen, on a busy machine."""

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def small() -> Session:
    return Session.load(device="cpu")


@pytest.fixture(scope="module")
def served(small: Session) -> Iterator[Served]:
    stock = Session.load(shirg=ShirgXConfig(mode="stock"), device="cpu")
    with serving(small, stock=stock, mount=partial(mount_page, config=ServerConfig())) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator["sync_api.Browser"]:
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser: "sync_api.Browser", served: Served) -> Iterator["sync_api.Page"]:
    """The page in a fresh window; what it asks of other machines or in vain is an error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    foreign: list[str] = []
    failed: list[str] = []
    page.on(
        "request",
        lambda asked: foreign.append(asked.url) if not asked.url.startswith((served.url, "data:", "blob:")) else None,
    )
    page.on("response", lambda told: failed.append(f"{told.status} {told.url}") if told.status >= 400 else None)
    page.goto(served.url)
    yield page
    context.close()
    assert not foreign
    assert not failed


def take_picture(page: "sync_api.Page", name: str) -> None:
    """A small picture of the whole page."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    path = PICTURES / f"{name}.png"
    page.screenshot(path=path, full_page=True)
    with Image.open(path) as taken:
        taken.thumbnail((1000, 1400))
        taken.convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(path, optimize=True)


def test_a_dropped_page_is_answered_as_the_session_answers(page, small):
    page.locator("input[type=file]").first.set_input_files(PAGE)
    page.get_by_role("img", name="The page").wait_for()
    page.get_by_label("Question").fill(QUESTION)
    page.get_by_role("button", name="Ask").click()
    expected = small.ask(PAGE, QUESTION)
    page.locator("#kept img").wait_for()
    assert page.locator("#answer .answer").inner_text() == expected.text
    page.locator("#stock .answer").wait_for()
    assert page.locator("#stock .answer").inner_text()
    kept = page.locator("#kept img").get_attribute("alt")
    assert f"{expected.prefix.budget:,} patches" in kept
    assert QUESTION in kept
    table = page.locator("#facts table").inner_text()
    assert f"{expected.confidence:.0%}" in table
    assert "Seconds to encode" in table
    page.locator("#film summary").click()
    assert page.locator("#film li").count() == expected.forwards
    take_picture(page, "answer")


def test_an_example_is_two_clicks(page, small):
    page.get_by_text("entity_grid_0.png").click()
    page.get_by_role("img", name="The page").wait_for()
    page.get_by_role("button", name="Ask").click()
    page.locator("#kept img").wait_for()
    question = page.get_by_label("Question").input_value()
    assert page.locator("#answer .answer").inner_text() == small.ask(PAGE.with_name("entity_grid_0.png"), question).text


def test_the_keyboard_and_a_screen_reader_are_enough(page, small):
    """Everything has a name, answers are announced, and no step needs a pointer."""
    for name in ("answer", "stock"):
        place = page.locator(f"#{name}")
        sync_api.expect(place).to_have_attribute("aria-live", "polite", timeout=PATIENCE)
    assert page.get_by_role("heading", level=1).inner_text() == "Ask a page"
    assert page.locator("html").get_attribute("lang")
    page.locator("input[type=file]").first.set_input_files(PAGE)
    page.get_by_role("img", name="The page").wait_for()
    reached: list[str] = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "() => { const e = document.activeElement; return e.getAttribute('aria-label') || "
                "(e.labels && e.labels[0] ? e.labels[0].innerText : e.innerText) || e.tagName }"
            ).strip()
        )
        if reached[-1].startswith("Question"):
            page.keyboard.type(QUESTION)
        if reached[-1] == "Ask":
            page.keyboard.press("Enter")
            break
    assert reached[-1] == "Ask", reached
    assert any(name.startswith("Page of the PDF") for name in reached), reached
    assert any(name.startswith("Question") for name in reached), reached
    page.locator("#kept img").wait_for()
    assert page.locator("#answer .answer").inner_text() == small.ask(PAGE, QUESTION).text
    for image in page.locator("main img, #kept img, #page img").all():
        assert image.get_attribute("alt")


def test_what_is_wrong_is_said(page):
    page.get_by_label("Question").fill(QUESTION)
    page.get_by_role("button", name="Ask").click()
    page.get_by_role("alert").filter(has_text="drop a picture or a PDF first").wait_for()
    page.locator("input[type=file]").first.set_input_files(
        {"name": "page.png", "mimeType": "image/png", "buffer": b"no picture"}
    )
    page.get_by_role("alert").filter(has_text="Cannot read the page").first.wait_for()


def test_an_answer_cannot_bring_markup(page):
    page.locator("input[type=file]").first.set_input_files(PAGE)
    page.get_by_role("img", name="The page").wait_for()
    page.get_by_label("Question").fill('"><img src=x onerror="document.title=1"> why?')
    page.get_by_role("button", name="Ask").click()
    page.locator("#kept img").wait_for()
    assert page.locator("#kept img").count() == 1
    assert page.title() == "LaViDa with SHIRG-X"


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """Another server of this machine, and what was asked of it."""
    asked: list[str] = []

    class Secret(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(PAGE.read_bytes())

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Secret) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/secret.png", asked
        server.shutdown()


def test_no_path_and_no_address_of_the_server_is_read_through_the_page(served, elsewhere, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(PAGE.read_bytes())
    paths = ["/etc/passwd", str(secret), str(ROOT / "pyproject.toml"), os.path.realpath("/proc/self/environ")]
    for path in paths:
        for ask in (f"/gradio_api/file={path}", f"/gradio_api/file=../..{path}", f"/file={path}", f"/static/..{path}"):
            status, _, body = served.send("GET", ask)
            assert status >= 400, ask
            assert b"root:" not in body
    for path in ("/gradio_api/proxy=http://x.hf.space/", "/gradio_api/openapi.json", "/gradio_api/run-history/buckets"):
        assert served.send("GET", path)[0] == 404
    url, asked = elsewhere
    config = json.loads(served.send("GET", "/config")[2])
    functions = {each["id"]: len(each["inputs"]) for each in config["dependencies"]}
    assert {2, 4} <= set(functions.values())
    kind = {"Content-Type": "application/json"}
    for number, count in functions.items():
        # Anything may be said to be a file, a question too.
        for path in (*paths, url, url.replace("127.0.0.1", "localhost"), f"file://{secret}", None):
            for place in range(count):
                inputs: list[object] = [None, 1, QUESTION, False][:count]
                inputs[place] = {"path": path, "url": path, "meta": {"_type": "gradio.FileData"}}
                event = {"fn_index": number, "session_hash": f"s{number}", "data": inputs}
                for door in ("queue/join", "queue/join/", "run/predict", "run/predict/"):
                    assert served.send("POST", f"/gradio_api/{door}", json.dumps(event).encode(), kind)[0] >= 400
                for door in ("run/answer", "api/predict", "call/answer", "call/v2/answer"):
                    assert served.send("POST", f"/gradio_api/{door}", json.dumps(event).encode(), kind)[0] in (404, 405)
    assert not asked


def test_with_keys_the_page_asks_for_one(small, browser):
    config = ServerConfig(api_keys=(KEY,))
    with serving(small, api_keys=(KEY,), mount=partial(mount_page, config=config)) as served:
        assert served.send("GET", "/config")[0] == 401
        upload = served.send("POST", "/gradio_api/upload", b"x", {"Content-Type": "multipart/form-data; boundary=x"})
        assert upload[0] == 401
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(served.url)
        for password in ("wrong", KEY):
            page.get_by_label("username").fill("me")
            page.get_by_label("password").fill(password)
            page.get_by_role("button", name="Login").click()
            if password == "wrong":
                page.get_by_text("Incorrect").first.wait_for()
        page.get_by_label("Question").wait_for()
        page.close()
