"""What a selection looks like on the page it was made for, with nothing drawn over its print."""

import textwrap
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float, Int
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image

from shirg.config import Resize
from shirg.coordinates import padded_grid_boxes
from shirg.counts import PatchCounts, count_patches
from shirg.shirg_selector import Selection

# Paper takes the color and print stays as dark as it is. The hues stay apart for color-blind readers.
MERGED_TINT = (0.70, 0.86, 1.0)
DROPPED_TINT = (0.60, 0.62, 0.66)
SCORE_COLORS = LinearSegmentedColormap.from_list("score", ["#ffffff", "#fff0a8", "#ffb84d", "#f0653a"])
"""Light throughout, since print lies on it."""
SCORE_FLOOR = 0.2
"""Of a score's color, on black: a dark ground shows its score too."""
ANSWER_COLOR = "#cc1177"

DPI = 120
LARGEST_SIDE = 1600
"""Pixels; larger pages are scaled down before drawing."""


@dataclass(frozen=True, kw_only=True)
class _Decision:
    """One image's selection on the host, with the patch edges in [0, 1] of the original image."""

    x_edges: Float[np.ndarray, "across"]
    y_edges: Float[np.ndarray, "down"]
    candidates: Bool[np.ndarray, "rows columns"]
    token: Int[np.ndarray, "rows columns"]
    """The token each patch belongs to, named by the patch it grew from."""
    kept: Bool[np.ndarray, "rows columns"]
    """Whether that token survived."""
    scores: Float[np.ndarray, "rows columns"]
    counts: PatchCounts

    @property
    def merged(self) -> Bool[np.ndarray, "rows columns"]:
        """Patches folded into a surviving token, which lies at the place of another patch."""
        return self.kept & (self.token != np.arange(self.token.size).reshape(self.token.shape))


def draw_selection(
    image: Image.Image,
    selection: Selection,
    *,
    resize: Resize,
    scaffold_tokens: int = 0,
    index: int = 0,
    answer_box: tuple[float, float, float, float] | None = None,
    title: str | None = None,
    answer: str | None = None,
) -> Image.Image:
    """A picture of which patches of a page survived, beside the score that decided, under a title and an answer.

    The paper is white where a patch was kept as a token, tinted where one was merged into such a token, and gray where
    one was dropped. How many there are of each stands below, the scale of the score beside it.

    Args:
        scaffold_tokens: how many tokens show the whole page coarsely, for the legend.
        index: the page's place in the batch.
        answer_box: an (x, y, h, w) box in [0, 1] of the page, to be framed.

    Raises:
        ValueError: if the batch has no such image.
    """
    decision = _read_decision(selection, image.size, resize=resize, index=index)
    page = _as_array(image)
    height, width = page.shape[:2]
    # Wide pages stand above each other.
    wide = width > 1.8 * height
    figure, kept_axes, score_axes, bar_axes = _lay_out(width / height, title, answer, stacked=wide)

    _show(kept_axes, _tinted(page, decision))
    scale = _draw_score(score_axes, page, decision)
    bar = figure.colorbar(scale, cax=bar_axes, orientation="horizontal" if wide else "vertical")
    bar.set_label("what is highest is kept first", fontsize=9, color="#444444")
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    if answer_box is not None:
        for axes in (kept_axes, score_axes):
            _frame(axes, answer_box)
    _add_legend(figure, decision.counts, scaffold_tokens, has_answer=answer_box is not None)

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _read_decision(selection: Selection, image_size: tuple[int, int], *, resize: Resize, index: int) -> _Decision:
    batch = len(selection.grids)
    if not 0 <= index < batch:
        raise ValueError(f"the selection holds images 0 to {batch - 1}, got index {index}")
    grid = rows, columns = selection.grids[index]
    patches = rows * columns
    token = selection.assignment[index, :patches].cpu().numpy()
    kept = selection.kept[index, : selection.lengths[index]].cpu().numpy()
    if resize == "pad":
        # Patches are square, so that the padded page has the shape of its grid.
        candidates = padded_grid_boxes(grid, image_size, shape=grid)[1].numpy().reshape(grid)
        width, height = image_size
        side = max(width / columns, height / rows)
        x_edges, y_edges = (
            np.clip((np.linspace(0, side * cells, cells + 1) - (side * cells - length) / 2) / length, 0, 1)
            for cells, length in ((columns, width), (rows, height))
        )
    else:
        candidates = np.ones(grid, dtype=bool)
        x_edges, y_edges = (np.linspace(0, 1, cells + 1) for cells in (columns, rows))
    return _Decision(
        x_edges=x_edges,
        y_edges=y_edges,
        candidates=candidates,
        token=token.reshape(grid),
        kept=np.isin(token, kept).reshape(grid),
        scores=selection.scores.total[index, :patches].detach().cpu().numpy().reshape(grid),
        counts=count_patches(selection, candidates=int(candidates.sum()), index=index),
    )


def _as_array(image: Image.Image) -> npt.NDArray[np.uint8]:
    scale = min(1.0, LARGEST_SIDE / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        # Plain conversion turns transparent paper black.
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image.convert("RGBA"))
    return np.asarray(image.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))


def _lay_out(aspect: float, title: str | None, answer: str | None, *, stacked: bool) -> tuple[Figure, Axes, Axes, Axes]:
    """A figure with room for two pages of this shape, a color bar along the second, words and a legend, in inches."""
    margin, gap, pad, bar, ticks, footer = 0.35, 0.45, 0.12, 0.16, 0.75, 0.95
    long_side = min(13.0, max(6.4, 0.7 * max(aspect, 1 / aspect)))
    width, height = (long_side, long_side / aspect) if aspect >= 1 else (long_side * aspect, long_side)
    content = width if stacked else 2 * width + gap + pad + bar + ticks
    total_width = max(8.0, content + 2 * margin)
    lines = textwrap.wrap(title or "", width=int(9 * total_width))
    answers = [] if answer is None else textwrap.wrap(f"answer: {answer or '(empty)'}", width=int(9 * total_width))
    header = 0.4 + 0.25 * (len(lines) + len(answers))
    left = (total_width - content) / 2
    if stacked:
        total_height = header + 2 * height + gap + pad + bar + ticks + footer
        score_bottom = footer + ticks + bar + pad
        boxes = (
            (left, score_bottom + height + gap, width, height),
            (left, score_bottom, width, height),
            (left, footer + ticks, width, bar),
        )
    else:
        total_height = header + height + footer
        boxes = (
            (left, footer, width, height),
            (left + width + gap, footer, width, height),
            (left + 2 * width + gap + pad, footer, bar, height),
        )
    figure = Figure(figsize=(total_width, total_height), dpi=DPI, facecolor="white")
    scale = np.array([total_width, total_height, total_width, total_height])
    kept_axes, score_axes, bar_axes = (figure.add_axes(tuple(np.array(box) / scale)) for box in boxes)
    for text, above, weight in ((lines, 0, "bold"), (answers, len(lines), "normal")):
        place = 1 - (0.12 + 0.25 * above) / total_height
        figure.text(
            0.5, place, "\n".join(text), ha="center", va="top", fontsize=13, fontweight=weight, parse_math=False
        )
    for axes, name in ((kept_axes, "kept patches"), (score_axes, "score")):
        axes.set_title(name, fontsize=10, color="#444444", pad=5)
        axes.set(xlim=(0, 1), ylim=(1, 0), xticks=[], yticks=[])
        axes.spines[:].set_color("#999999")
    return figure, kept_axes, score_axes, bar_axes


def _tinted(page: npt.NDArray[np.uint8], decision: _Decision) -> npt.NDArray[np.uint8]:
    """The page as it is where patches became tokens, on tinted paper where they were merged or dropped."""
    tints = np.ones((*decision.kept.shape, 3))
    tints[decision.merged] = MERGED_TINT
    tints[~decision.kept] = DROPPED_TINT
    return (page * _per_pixel(tints, page, decision)).astype(np.uint8)


def _draw_score(axes: Axes, page: npt.NDArray[np.uint8], decision: _Decision) -> ScalarMappable:
    """Print on paper that has the colors of the score; gives their scale. Patches without a score stay gray."""
    scores = np.ma.masked_array(decision.scores, ~decision.candidates)
    scale = ScalarMappable(Normalize(scores.min(), scores.max()), SCORE_COLORS)
    colors = np.where(decision.candidates[..., None], scale.to_rgba(scores)[..., :3], DROPPED_TINT)
    light = SCORE_FLOOR + (1 - SCORE_FLOOR) * page.mean(axis=2, keepdims=True) / 255
    _show(axes, (255 * light * _per_pixel(colors, page, decision)).astype(np.uint8))
    return scale


def _frame(axes: Axes, box: tuple[float, float, float, float]) -> None:
    center_x, center_y, h, w = box
    # A little outside, where it touches no print.
    across, down = 4 / axes.get_window_extent().width, 4 / axes.get_window_extent().height
    corner = (center_x - w / 2 - across, center_y - h / 2 - down)
    frame = Rectangle(corner, w + 2 * across, h + 2 * down, fill=False, edgecolor=ANSWER_COLOR, linewidth=1.6, zorder=4)
    frame.set_path_effects([withStroke(linewidth=3.2, foreground="white")])
    axes.add_patch(frame)


def _add_legend(figure: Figure, counts: PatchCounts, scaffold_tokens: int, *, has_answer: bool) -> None:
    gray = "#999999"
    handles: list[Artist] = [
        Patch(facecolor="white", edgecolor=gray, label=f"{counts.tokens:,} tokens kept"),
        Patch(facecolor=MERGED_TINT, edgecolor=gray, label=f"{counts.merged:,} more patches merged into them"),
        Patch(facecolor=DROPPED_TINT, edgecolor=gray, label=f"{counts.dropped:,} patches dropped"),
    ]
    if has_answer:
        handles.append(Patch(facecolor="none", edgecolor=ANSWER_COLOR, linewidth=2.0, label="where the answer stands"))
    figure.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.5, 0.3 / figure.get_figheight()),
        ncols=len(handles) if figure.get_figwidth() > 10 else 2,
        frameon=False,
        fontsize=9.5,
        columnspacing=1.6,
        handlelength=1.4,
    )
    if scaffold_tokens:
        seen = f"Beside these, {scaffold_tokens:,} scaffold tokens show the whole page coarsely."
        figure.text(0.5, 0.14 / figure.get_figheight(), seen, ha="center", fontsize=9.5, color="#444444")


def _show(axes: Axes, pixels: npt.NDArray[np.uint8]) -> None:
    axes.imshow(pixels, extent=(0, 1, 1, 0), aspect="auto", interpolation="antialiased")


def _per_pixel(values: npt.NDArray, page: npt.NDArray[np.uint8], decision: _Decision) -> npt.NDArray:
    """The value of the patch under each pixel of the page."""
    rows, columns = (
        np.clip(np.searchsorted(edges, (np.arange(length) + 0.5) / length, side="right") - 1, 0, len(edges) - 2)
        for edges, length in zip((decision.y_edges, decision.x_edges), page.shape[:2], strict=True)
    )
    return values[np.ix_(rows, columns)]
