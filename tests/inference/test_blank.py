"""A page that shows nothing is said to be blank before a model is asked about it, with SHIRG-X and without."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from llava.inference.blank import is_blank
from llava.inference.session import Session
from shirg.config import ShirgXConfig

SIZE = (400, 200)


def drawn(fill: Any = "black") -> Image.Image:
    page = Image.new("RGB", SIZE, "white")
    ImageDraw.Draw(page).rectangle((60, 60, 340, 90), fill=fill)
    return page


def transparent() -> Image.Image:
    page = drawn()
    page.putalpha(0)
    return page


BLANK = {
    "white": lambda: Image.new("RGB", SIZE, "white"),
    "one color": lambda: Image.new("RGB", SIZE, "#204080"),
    "black gray": lambda: Image.new("L", SIZE, 0),
    "transparent": transparent,
    "white on white": lambda: drawn("#fefefe"),
    "a shadow": lambda: Image.fromarray(np.linspace(200, 240, 400).round().astype(np.uint8)[None].repeat(200, 0)),
}


@pytest.fixture(scope="module", params=["shirg_x", "stock"])
def either(request: pytest.FixtureRequest, quick: Path) -> Session:
    stock = ShirgXConfig(mode="stock")
    return Session.load(quick, device="cpu", shirg=stock if request.param == "stock" else None)


@pytest.mark.parametrize("name", BLANK)
def test_blank_pages_are_said_to_be(either: Session, name: str) -> None:
    page = either.encode(BLANK[name]())
    assert page.blank
    assert page.notes == ("the image: nothing is visible; the page is blank, so that answers mean nothing",)
    answer = either.answer(page, "What is the total?")
    assert answer.blank
    assert answer.notes == page.notes
    assert "nothing is visible" in answer._repr_html_()


def test_pages_with_print_are_not(either: Session) -> None:
    dot = Image.new("RGB", SIZE, "white")
    dot.paste("black", (200, 100, 203, 103))
    for page in (drawn(), drawn("#f0f0f0"), dot, Image.effect_noise(SIZE, 60)):
        encoded = either.encode(page)
        assert not encoded.blank
        assert encoded.notes == ()


def test_without_shirg_x_the_picture_itself_is_judged(session: Session) -> None:
    for name, make in BLANK.items():
        if name != "transparent":  # pictures come here on their paper
            assert is_blank(make().convert("RGB"), None, session.image_processor), name
    assert not is_blank(drawn(), None, session.image_processor)
