"""How an answer came about, step by step, as a moving picture."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from PIL import Image, ImageDraw

from llava.files import replacing
from llava.inference.answer import Answer
from llava.inference.lettering import Font, find_font
from llava.inference.words import check_film_name, one_line, printable

WIDTH = 960
"""Pixels across."""
PAGE_HEIGHT = 640
"""Pixels down, at most, of the page above the words."""
MARGIN = 24
FONT_SIZE = 22
LINE = 34
"""Pixels from one line of words to the next."""
MASK_WIDTH = 14
"""Pixels of a position that nothing has settled yet."""
STEP_SECONDS, LAST_SECONDS = 0.35, 2.5
_WHOLE_FRAMES = 1000
"""Frames from one that is stored as a whole to the next, more than a film has."""

SETTLED, FRESH, MASKED, PALE = "#1a1a1a", "#0b5cad", "#c9ccd3", "#6b6f78"


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Neighbors in an answer that look alike after a step."""

    text: str
    """Empty where nothing is settled yet."""
    masked: int = 0
    """Positions without a token."""
    fresh: bool = False
    """Whether this very step settled them."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Film:
    """A frame for each step, of one size, and one before the first."""

    frames: tuple[Image.Image, ...]

    def __repr__(self) -> str:
        return f"Film({len(self.frames)} frames of {self.frames[0].width} x {self.frames[0].height} pixels)"

    def save(self, path: str | Path) -> None:
        """Write it as GIF or WebP, whole or not at all; it plays forever.

        Raises:
            ValueError: if the name says it is something else.
        """
        check_film_name(path)
        form = Path(path).suffix[1:].upper()
        # Frames differ in a few words: none but the first is stored as a whole.
        options = {"kmin": _WHOLE_FRAMES // 2 + 1, "kmax": _WHOLE_FRAMES} if form == "WEBP" else {}
        seconds = [STEP_SECONDS] * (len(self.frames) - 1) + [LAST_SECONDS]
        with replacing(Path(path)) as file:
            self.frames[0].save(
                file,
                form,
                save_all=True,
                append_images=self.frames[1:],
                duration=[round(1000 * each) for each in seconds],
                loop=0,
                **options,
            )


def pieces_after(
    step: int, tokens: Sequence[int], settled_in: Sequence[int], decode: Callable[[Sequence[int]], str]
) -> list[Piece]:
    """An answer as it stood after ``step`` steps, 0 before the first.

    Args:
        settled_in: the step in which each of ``tokens`` was settled; 0 for what stood there from the start.
    """
    pieces = []
    marked = ((token, settled > step, settled == step > 0) for token, settled in zip(tokens, settled_in, strict=True))
    for (masked, fresh), run in groupby(marked, lambda each: each[1:]):
        ids = [token for token, *_ in run]
        pieces.append(Piece(text="", masked=len(ids)) if masked else Piece(text=printable(decode(ids)), fresh=fresh))
    return pieces


def draw_film(answer: Answer, *, told: int, decode: Callable[[Sequence[int]], str]) -> Film:
    """What was kept of the page, and below it the answer as every step left it.

    Args:
        told: how many of the answer's tokens to show, the end of its turn included.
        decode: from ids to text.
    """
    page = answer.image if answer.shirg is None else answer.heatmap()
    scale = min(WIDTH / page.width, PAGE_HEIGHT / page.height)
    page = page.resize((round(page.width * scale), round(page.height * scale)), Image.Resampling.LANCZOS)
    tokens, settled = answer.tokens[:told], answer.settled_in[:told]
    steps = [pieces_after(step, tokens, settled, decode) for step in range(max(settled, default=0) + 1)]
    font = find_font(FONT_SIZE)
    # Words that no line holds are cut by lines, and every frame is as high as the one with the most lines.
    laid = [list(_lay(pieces, font)) for pieces in steps]
    asked = list(_lay([Piece(text=one_line(answer.question))], font))
    above = 1 + asked[-1].line
    lines = 1 + max((spot.line for spots in laid for spot in spots), default=0)
    top = page.height + MARGIN
    height = top + LINE * (above + lines + 1) + MARGIN
    frames = []
    for number, spots in enumerate(laid):
        frame = Image.new("RGB", (WIDTH, height), "white")
        frame.paste(page, ((WIDTH - page.width) // 2, 0))
        draw = ImageDraw.Draw(frame)
        for spot in asked:
            draw.text((spot.left, top + LINE * spot.line), spot.text, font=font, fill=PALE)
        for spot in spots:
            _draw_spot(draw, spot, top + LINE * (above + spot.line), font)
        told_step = f"step {number} of {len(steps) - 1}, {answer.forwards} forwards in all"
        draw.text((MARGIN, height - MARGIN - LINE // 2), told_step, font=font, fill=PALE)
        frames.append(frame)
    return Film(frames=tuple(frames))


@dataclass(frozen=True, kw_only=True)
class _Spot:
    """A character or a masked position, where it stands."""

    text: str
    fresh: bool
    line: int
    left: float


def _lay(pieces: Sequence[Piece], font: Font) -> Iterator[_Spot]:
    line, left = 0, float(MARGIN)
    for piece in pieces:
        for text in [""] * piece.masked + list(piece.text):
            width = font.getlength(text) if text else MASK_WIDTH + 4
            if text == "\n" or left + width > WIDTH - MARGIN:
                line, left = line + 1, float(MARGIN)
            if text != "\n":
                yield _Spot(text=text, fresh=piece.fresh, line=line, left=left)
                left += width


def _draw_spot(draw: ImageDraw.ImageDraw, spot: _Spot, top: float, font: Font) -> None:
    if spot.text:
        draw.text((spot.left, top), spot.text, font=font, fill=FRESH if spot.fresh else SETTLED)
    else:
        draw.rectangle((spot.left, top + 4, spot.left + MASK_WIDTH, top + FONT_SIZE), fill=MASKED)
