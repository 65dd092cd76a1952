"""A page with frames: where its answer stands, what the question names, and what was found most relevant to it.

Boxes are (x0, y0, x1, y1) in [0, 1] of the page, from its top left corner.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from llava.inference.lettering import find_font, wrap_words
from llava.inference.words import one_line
from llava.pages import Box
from shirg.encoded import ShirgXPrefix

POINTED = 24
"""Tokens that are marked as most relevant."""
SMALLEST_SIDE, LARGEST_SIDE = 672, 1600
"""Pixels of the page's longer side, as it is drawn."""
MARGIN, FONT_SIZE, LINE = 16, 18, 26
FRAME = 3
"""Pixels of a frame's line, which lies outside its box, where it touches no print."""

MARKER = "#ffe14d"
"""Paper takes this color and print stays as dark as it is, as under a marker pen."""
ANSWER, EVIDENCE, INK = "#cc1177", "#0b5cad", "#1a1a1a"
LEGEND = {
    "answer": (ANSWER, "where the answer stands"),
    "evidence": (EVIDENCE, "what the question names"),
    "pointed": (MARKER, "most relevant of what was kept"),
}


def pointed_at(prefix: ShirgXPrefix, count: int = POINTED) -> tuple[Box, ...]:
    """The boxes of a page's kept tokens that are most similar to its question, the most similar one first.

    It is what the choice of tokens went by, and says nothing of what the language model read.
    """
    selection = prefix.selection
    kept = selection.kept[0, : selection.lengths[0]]
    similarity = selection.scores.similarity[0, kept]
    best = similarity.argsort(descending=True, stable=True)[:count]
    return tuple(
        (x - w / 2, y - h / 2, x + w / 2, y + h / 2) for x, y, h, w in prefix.tokens.boxes[0, best].float().tolist()
    )


def draw_boxes(
    page: Image.Image,
    *,
    question: str,
    text: str,
    answer: Sequence[Box] = (),
    evidence: Sequence[Box] = (),
    pointed: Sequence[Box] = (),
) -> Image.Image:
    """The page with frames and marks, over the question, the answer that was given, and a legend of what is drawn.

    Args:
        page: RGB.
        text: the answer that was given.
        answer: where the right answer stands.
        evidence: what the question names: labels, legend entries, figures.
        pointed: what is marked with color instead of a frame.

    Raises:
        ValueError: if there is no box at all.
    """
    drawn = {name: boxes for name, boxes in (("answer", answer), ("evidence", evidence), ("pointed", pointed)) if boxes}
    if not drawn:
        raise ValueError("there is no box to draw; say where the answer stands, or load the session with SHIRG-X")
    sheet = _marked(_scaled(page), pointed)
    pen = ImageDraw.Draw(sheet)
    for name in ("evidence", "answer"):
        for box in drawn.get(name, ()):
            _frame(pen, box, sheet.size, LEGEND[name][0])
    return _over_words(sheet, [question, f"answer: {text or '(empty)'}"], [LEGEND[name] for name in drawn])


def _scaled(page: Image.Image) -> Image.Image:
    longer = max(page.size)
    scale = min(max(longer, SMALLEST_SIDE), LARGEST_SIDE) / longer
    size = (max(1, round(page.width * scale)), max(1, round(page.height * scale)))
    return page.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _marked(sheet: Image.Image, boxes: Sequence[Box]) -> Image.Image:
    """The page multiplied by the marker's color under the boxes."""
    under = Image.new("L", sheet.size)
    pen = ImageDraw.Draw(under)
    for box in boxes:
        pen.rectangle(_pixels(box, sheet.size), fill=255)
    color = np.where(np.asarray(under)[..., None] > 0, np.array(_rgb(MARKER)) / 255, 1.0)
    return Image.fromarray(np.rint(np.asarray(sheet) * color).astype(np.uint8))


def _frame(pen: ImageDraw.ImageDraw, box: Box, size: tuple[int, int], color: str) -> None:
    left, top, right, bottom = _pixels(box, size)
    for outside, shade in ((FRAME + 1, "white"), (FRAME, color)):
        corners = (left - outside, top - outside, right + outside, bottom + outside)
        pen.rectangle(corners, outline=shade, width=outside if shade == "white" else FRAME)


def _pixels(box: Box, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The corners of the outermost pixels under a box."""
    x0, y0, x1, y1 = box
    width, height = size
    left, top = int(x0 * width), int(y0 * height)
    return left, top, max(left, -int(-x1 * width // 1) - 1), max(top, -int(-y1 * height // 1) - 1)


def _over_words(sheet: Image.Image, words: Sequence[str], legend: Sequence[tuple[str, str]]) -> Image.Image:
    width = max(sheet.width, SMALLEST_SIDE // 2) + 2 * MARGIN
    font = find_font(FONT_SIZE)
    lines = [line for text in words for line in wrap_words(one_line(text), font, width - 2 * MARGIN)]
    height = sheet.height + 3 * MARGIN + LINE * (len(lines) + len(legend))
    picture = Image.new("RGB", (width, height), "white")
    picture.paste(sheet, ((width - sheet.width) // 2, MARGIN))
    pen = ImageDraw.Draw(picture)
    top = sheet.height + 2 * MARGIN
    for line in lines:
        pen.text((MARGIN, top), line, font=font, fill=INK)
        top += LINE
    for color, name in legend:
        pen.rectangle((MARGIN, top + 4, MARGIN + 24, top + 18), fill=color)
        pen.text((MARGIN + 34, top), name, font=font, fill=INK)
        top += LINE
    return picture


def _rgb(color: str) -> tuple[int, ...]:
    return tuple(int(color[place : place + 2], 16) for place in (1, 3, 5))
