"""Frames lie outside their boxes in the color of what they frame, and what is marked is what the choice went by."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llava.inference.boxes import ANSWER, EVIDENCE, LARGEST_SIDE, MARGIN, MARKER, SMALLEST_SIDE, draw_boxes, pointed_at
from llava.inference.lettering import find_font, wrap_words
from llava.inference.session import Session
from shirg.config import ShirgXConfig
from tests.cli_helpers import Call

QUESTION = "What is red?"
BOX = (0.25, 0.5, 0.5, 0.625)
OTHER = (0.75, 0.125, 0.875, 0.25)
SIDE = 800
"""Of the pages here, which are drawn as large as they are."""


def color(name: str) -> tuple[int, ...]:
    return tuple(int(name[place : place + 2], 16) for place in (1, 3, 5))


def sheet_of(picture: Image.Image) -> np.ndarray:
    """The page in a picture, without the words."""
    return np.asarray(picture)[MARGIN : MARGIN + SIDE, MARGIN : MARGIN + SIDE]


def holds(picture: Image.Image, name: str, *, sheet: bool = True) -> bool:
    pixels = sheet_of(picture) if sheet else np.asarray(picture)
    return bool((pixels == color(name)).all(-1).any())


@pytest.mark.parametrize(("kind", "shade"), [("answer", ANSWER), ("evidence", EVIDENCE)])
def test_a_frame_lies_outside_its_box(kind: str, shade: str) -> None:
    page = Image.fromarray(np.random.default_rng(7).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
    sheet = sheet_of(draw_boxes(page, question=QUESTION, text="Bo", **{kind: [BOX]}))
    left, top, right, bottom = (round(edge * SIDE) for edge in BOX)
    assert np.array_equal(sheet[top:bottom, left:right], np.asarray(page)[top:bottom, left:right])
    for y, x in ((top - 1, left), (bottom, left), (top, left - 1), (top, right)):
        assert tuple(sheet[y, x]) == color(shade)
    changed = (sheet != np.asarray(page)).any(-1)
    rows, columns = np.nonzero(changed)
    assert (rows.min(), rows.max()) == (top - 4, bottom + 3)
    assert (columns.min(), columns.max()) == (left - 4, right + 3)


def test_a_marker_colors_paper_and_leaves_print_dark() -> None:
    page = Image.new("RGB", (SIDE, SIDE), "white")
    page.paste("black", (300, 450, 320, 470))
    sheet = sheet_of(draw_boxes(page, question=QUESTION, text="", pointed=[BOX]))
    assert tuple(sheet[402, 202]) == color(MARKER)
    assert tuple(sheet[460, 310]) == (0, 0, 0)
    assert tuple(sheet[398, 202]) == tuple(sheet[402, 198]) == (255, 255, 255)


def test_only_what_is_drawn_is_in_the_legend() -> None:
    page = Image.new("RGB", (SIDE, SIDE), "white")
    both = draw_boxes(page, question=QUESTION, text="Bo", answer=[BOX], pointed=[OTHER])
    assert [holds(both, shade, sheet=False) for shade in (ANSWER, EVIDENCE, MARKER)] == [True, False, True]
    below = np.asarray(both)[MARGIN + SIDE :]
    assert (below == color(ANSWER)).all(-1).any()
    assert draw_boxes(page, question=QUESTION, text="Bo", answer=[BOX]).height < both.height
    with pytest.raises(ValueError, match="no box to draw"):
        draw_boxes(page, question=QUESTION, text="Bo")


@pytest.mark.parametrize(("size", "longer"), [((90, 70), SMALLEST_SIDE), ((3000, 500), LARGEST_SIDE)])
def test_pages_of_any_size_can_be_looked_at(size: tuple[int, int], longer: int) -> None:
    drawn = draw_boxes(Image.new("RGB", size, "white"), question=QUESTION, text="Bo", answer=[BOX])
    assert drawn.width == longer + 2 * MARGIN


def test_long_words_are_wrapped_and_nothing_is_lost() -> None:
    font = find_font(18)
    text = "Why? " * 40 + "W" * 90
    lines = list(wrap_words(text, font, 300))
    assert all(font.getlength(line) <= 300 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert len(lines) < 30
    assert list(wrap_words("", font, 300)) == []


def test_the_tokens_pointed_at_are_the_most_similar_of_those_kept(session: Session, page: Path) -> None:
    prefix = session.ask(page, QUESTION).prefix.shirg
    assert prefix is not None
    kept = prefix.selection.kept[0, : prefix.selection.lengths[0]].tolist()
    found = [(float(prefix.selection.scores.similarity[0, patch]), place) for place, patch in enumerate(kept)]
    best = sorted(found, key=lambda each: (-each[0], each[1]))[:5]
    boxes = pointed_at(prefix, 5)
    for (_, place), box in zip(best, boxes, strict=True):
        x, y, h, w = prefix.tokens.boxes[0, place].tolist()
        assert box == pytest.approx((x - w / 2, y - h / 2, x + w / 2, y + h / 2))
    assert len(pointed_at(prefix, 10**6)) == len(kept)


def test_an_answer_draws_what_is_known_and_what_it_was_chosen_by(quick: Path, session: Session, page: Path) -> None:
    answer = session.ask(page, QUESTION)
    chosen = answer.boxes(evidence=[BOX])
    assert [holds(chosen, shade, sheet=False) for shade in (ANSWER, EVIDENCE)] == [False, True]
    with Session.load(quick, shirg=ShirgXConfig(mode="stock"), device="cpu") as stock:
        plain = stock.ask(page, QUESTION)
        assert not holds(plain.boxes(answer=[BOX]), MARKER, sheet=False)
        with pytest.raises(ValueError, match="load the session with SHIRG-X"):
            plain.boxes()


def test_the_command_draws_each_question_with_what_is_known(call: Call, page: Path, tmp_path: Path) -> None:
    (page.parent / "pages.json").write_text(
        json.dumps([{"image": page.name, "question": QUESTION, "answer": "Bo", "box": [1, 1, 9, 9], "evidence": []}])
    )
    out, _ = call("ask", page, QUESTION, "Why?", "--tokens", "4", "--boxes", tmp_path / "where.png", "--json")
    names = [str(tmp_path / f"where-{number}.png") for number in (1, 2)]
    assert [json.loads(line)["boxes"] for line in out.splitlines()] == names
    for name, known in zip(names, (True, False), strict=True):
        with Image.open(name) as drawn:
            assert holds(drawn.convert("RGB"), ANSWER, sheet=False) == known
    named = ("--no-shirg", "--evidence", "0.1,0.1,0.5,0.5", "--boxes", tmp_path / "one.png")
    call("ask", page, "Why?", "--tokens", "4", *named)
    with Image.open(tmp_path / "one.png") as drawn:
        shown = drawn.convert("RGB")
    assert [holds(shown, shade, sheet=False) for shade in (ANSWER, MARKER)] == [True, False]
