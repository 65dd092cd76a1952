"""The sheet that the example pages are drawn on: it writes, and it knows where every answer stands."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch, Patch
from matplotlib.text import Text
from PIL import Image

from llava.image_io import PDF_LONG_SIDE

DPI = 100
INK, SOFT, PALE, NAVY, TEAL, RUST, GOLD = "#1f2933", "#5b6773", "#e3e8ee", "#1d3557", "#2a7f86", "#b5482f", "#d99a2b"
Question = dict[str, str | int | list[int]]


class Canvas:
    """A sheet measured in pixels from the top left, and the questions that it answers."""

    def __init__(self, name: str, width: int, height: int, *, paper: str = "white", number: int | None = None) -> None:
        self.name, self.width, self.height, self.number = name, width, height, number
        self.questions: list[Question] = []
        self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=paper)
        self.canvas = FigureCanvasAgg(self.figure)
        self.axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        self.axes.set_axis_off()

    def text(
        self, x: float, y: float, words: str, size: float, *, face: str = "Sans", color: str = INK, align: str = "left"
    ) -> Text:
        """Write with the baseline at ``y``; ``size`` is in pixels and ``face`` ends a DejaVu file name."""
        font = FontProperties(fname=Path(matplotlib.get_data_path(), "fonts", "ttf", f"DejaVu{face}.ttf"))
        font.set_size(size * 72 / DPI)
        return self.axes.text(x, y, words, fontproperties=font, color=color, ha=align, parse_math=False)

    def add(self, shape: Patch) -> Patch:
        return self.axes.add_patch(shape)

    def box(self, x: float, y: float, width: float, height: float, color: str, *, corner: float = 0) -> Patch:
        style = f"round,pad=0,rounding_size={corner}" if corner else "square,pad=0"
        return self.add(FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor=color, linewidth=0))

    def ask(self, question: str, place: Artist, answer: str | None = None) -> None:
        """Record a question whose answer is drawn by ``place``: its own words, unless ``answer`` names a shape."""
        scale = PDF_LONG_SIDE / max(self.width, self.height) if self.number else 1
        ink = place.get_window_extent(self.canvas.get_renderer())
        edges = (ink.x0 * scale, (self.height - ink.y1) * scale, ink.x1 * scale, (self.height - ink.y0) * scale)
        box = [int(edges[0]), int(edges[1]), int(np.ceil(edges[2])), int(np.ceil(edges[3]))]
        words = place.get_text() if isinstance(place, Text) else ""
        entry: Question = {"image": self.name, "question": question, "answer": answer or words, "box": box}
        self.questions.append(entry | ({"page": self.number} if self.number else {}))

    def pixels(self) -> Image.Image:
        self.canvas.draw()
        return Image.fromarray(np.asarray(self.canvas.buffer_rgba())).convert("RGB")


def money(cents: int) -> str:
    return f"{cents / 100:,.2f}"
