"""What a selection looks like on the page it was made for."""

import textwrap
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float, Int
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image

from shirg.config import Resize
from shirg.coordinates import padded_grid_boxes
from shirg.shirg_selector import Selection

# Three hues that stay apart for color-blind readers, on white paper and on dimmed paper.
MERGED_COLOR = "#0077bb"
ANCHOR_COLOR = "#ee7733"
ANSWER_COLOR = "#cc1177"
DIMMING = 0.7
DIMMED_COLOR = (43, 49, 64)
SCORE_COLORS = "viridis"

DPI = 120
LARGEST_SIDE = 1600
"""Pixels; larger pages are scaled down before drawing."""


@dataclass(frozen=True, kw_only=True)
class _Decision:
    """One image's selection on the host, with the patch edges in [0, 1] of the original image."""

    x_edges: Float[np.ndarray, "edges"]
    y_edges: Float[np.ndarray, "edges"]
    candidates: Bool[np.ndarray, "grid grid"]
    token: Int[np.ndarray, "grid grid"]
    """The token each patch belongs to, named by the patch it grew from."""
    kept: Bool[np.ndarray, "grid grid"]
    """Whether that token survived."""
    anchors: Bool[np.ndarray, "grid grid"]
    scores: Float[np.ndarray, "grid grid"]
    num_tokens: int

    @property
    def num_merged(self) -> int:
        """Patches folded into surviving tokens."""
        return int(self.kept.sum()) - self.num_tokens

    @property
    def num_dropped(self) -> int:
        return int((self.candidates & ~self.kept).sum())


def draw_selection(
    image: Image.Image,
    selection: Selection,
    *,
    grid: int,
    scaffold_factor: int,
    resize: Resize,
    index: int = 0,
    answer_box: tuple[float, float, float, float] | None = None,
    title: str | None = None,
) -> Image.Image:
    """A picture of which patches of a page survived, beside the score that decided.

    Kept patches are bright and dropped ones dimmed; patches merged into one token share an outline. ``index`` is the
    page's place in the batch; ``answer_box`` is an (x, y, h, w) box in [0, 1] of the page. Wide pages are stacked
    instead of set side by side.

    Raises:
        ValueError: if the batch has no such image, or the selection was not made on such a grid.
    """
    decision = _read_decision(selection, image.size, grid=grid, resize=resize, index=index)
    page = _as_array(image)
    height, width = page.shape[:2]
    wide = width > 1.8 * height
    figure, kept_axes, score_axes, bar_axes = _lay_out(width / height, title, stacked=wide)

    _draw_kept(kept_axes, page, decision, scaffold_factor)
    colors = _draw_score(score_axes, page, decision)
    bar = figure.colorbar(colors, cax=bar_axes, orientation="horizontal" if wide else "vertical")
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    for axes in (kept_axes, score_axes):
        _mark(axes, decision, answer_box)
    _add_legend(figure, decision, has_answer=answer_box is not None)

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _read_decision(
    selection: Selection, image_size: tuple[int, int], *, grid: int, resize: Resize, index: int
) -> _Decision:
    batch, patches = selection.assignment.shape
    if not 0 <= index < batch:
        raise ValueError(f"the selection holds images 0 to {batch - 1}, got index {index}")
    if patches != grid**2:
        raise ValueError(f"a grid of {grid} has {grid**2} patches, but the selection was made over {patches}")
    token = selection.assignment[index].cpu().numpy()
    kept = selection.kept[index, : selection.lengths[index]].cpu().numpy()
    square = (grid, grid)
    if resize == "pad":
        candidates = padded_grid_boxes(grid, [image_size])[1].numpy().reshape(square)
        side = max(image_size)
        x_edges, y_edges = (
            np.clip((np.linspace(0, side, grid + 1) - (side - length) / 2) / length, 0, 1) for length in image_size
        )
    else:
        candidates = np.ones(square, dtype=bool)
        x_edges = y_edges = np.linspace(0, 1, grid + 1)
    return _Decision(
        x_edges=x_edges,
        y_edges=y_edges,
        candidates=candidates,
        token=token.reshape(square),
        kept=np.isin(token, kept).reshape(square),
        anchors=selection.scores.anchors[index].cpu().numpy().reshape(square),
        scores=selection.scores.total[index].detach().cpu().numpy().reshape(square),
        num_tokens=len(kept),
    )


def _as_array(image: Image.Image) -> npt.NDArray[np.uint8]:
    scale = min(1.0, LARGEST_SIDE / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        # Plain conversion turns transparent paper black.
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image.convert("RGBA"))
    return np.asarray(image.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))


def _lay_out(aspect: float, title: str | None, *, stacked: bool) -> tuple[Figure, Axes, Axes, Axes]:
    """A figure with room for two pages of this shape, a color bar along the second, a title and a legend, in inches."""
    margin, gap, pad, bar, ticks, footer = 0.35, 0.45, 0.12, 0.16, 0.5, 0.7
    long_side = min(13.0, max(6.4, 0.7 * max(aspect, 1 / aspect)))
    width, height = (long_side, long_side / aspect) if aspect >= 1 else (long_side * aspect, long_side)
    content = width if stacked else 2 * width + gap + pad + bar + ticks
    total_width = max(8.0, content + 2 * margin)
    lines = textwrap.wrap(title or "", width=int(9 * total_width))
    header = 0.4 + 0.25 * len(lines)
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
    figure.suptitle(
        "\n".join(lines), y=1 - 0.12 / total_height, va="top", fontsize=13, fontweight="bold", parse_math=False
    )
    for axes, name in ((kept_axes, "kept patches"), (score_axes, "score")):
        axes.set_title(name, fontsize=10, color="#444444", pad=5)
        axes.set(xlim=(0, 1), ylim=(1, 0), xticks=[], yticks=[])
        axes.spines[:].set_color("#999999")
    return figure, kept_axes, score_axes, bar_axes


def _draw_kept(axes: Axes, page: npt.NDArray[np.uint8], decision: _Decision, scaffold_factor: int) -> None:
    kept = _per_pixel(decision.kept, page, decision)[..., None]
    _show(axes, np.where(kept, page, _dimmed(page)).astype(np.uint8))

    upright = [[(x, 0), (x, 1)] for x in decision.x_edges[::scaffold_factor]]
    level = [[(0, y), (1, y)] for y in decision.y_edges[::scaffold_factor]]
    axes.add_collection(LineCollection(upright + level, colors="white", linewidths=0.4, alpha=0.18))
    thickness = min(1.1, 0.08 * _patch_points(axes, decision))
    axes.add_collection(
        LineCollection(list(_outlines(decision)), colors=MERGED_COLOR, linewidths=thickness, capstyle="round")
    )


def _draw_score(axes: Axes, page: npt.NDArray[np.uint8], decision: _Decision) -> AxesImage:
    gray = page.mean(axis=2, keepdims=True).astype(np.uint8).repeat(3, axis=2)
    _show(axes, gray)
    scores = np.ma.masked_array(decision.scores, ~decision.candidates)
    return axes.imshow(
        _per_pixel(scores, page, decision),
        cmap=SCORE_COLORS,
        norm=Normalize(scores.min(), scores.max()),
        alpha=0.78,
        extent=(0, 1, 1, 0),
        aspect="auto",
        interpolation="nearest",
    )


def _mark(axes: Axes, decision: _Decision, answer_box: tuple[float, float, float, float] | None) -> None:
    rows, columns = np.nonzero(decision.anchors)
    x = (decision.x_edges[columns] + decision.x_edges[columns + 1]) / 2
    y = (decision.y_edges[rows] + decision.y_edges[rows + 1]) / 2
    axes.add_line(_anchor_markers(x, y, size=float(np.clip(0.7 * _patch_points(axes, decision), 2.0, 5.0))))
    if answer_box is not None:
        center_x, center_y, h, w = answer_box
        corner = (center_x - w / 2, center_y - h / 2)
        frame = Rectangle(corner, w, h, fill=False, edgecolor=ANSWER_COLOR, linewidth=1.6, zorder=4)
        frame.set_path_effects([withStroke(linewidth=3.2, foreground="white")])
        axes.add_patch(frame)


def _add_legend(figure: Figure, decision: _Decision, *, has_answer: bool) -> None:
    red, green, blue = _dimmed(np.full(3, 255)) / 255
    handles: list[Artist] = [
        Patch(facecolor="white", edgecolor="#999999", label=f"{decision.num_tokens:,} tokens kept"),
        Patch(facecolor="white", edgecolor=MERGED_COLOR, label=f"{decision.num_merged:,} patches merged into them"),
        Patch(color=(red, green, blue), label=f"{decision.num_dropped:,} patches dropped"),
        _anchor_markers([], [], size=5.0, label=f"{int(decision.anchors.sum()):,} anchors"),
    ]
    if has_answer:
        handles.append(Patch(facecolor="none", edgecolor=ANSWER_COLOR, linewidth=2.0, label="answer"))
    columns = len(handles) if figure.get_figwidth() > 9.5 else 3
    figure.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.5, 0.06 / figure.get_figheight()),
        ncols=columns,
        frameon=False,
        fontsize=9.5,
        columnspacing=1.6,
        handlelength=1.4,
    )


def _anchor_markers(x: npt.ArrayLike, y: npt.ArrayLike, *, size: float, label: str | None = None) -> Line2D:
    return Line2D(
        x,
        y,
        label=label,
        linestyle="none",
        marker="o",
        markersize=size,
        markerfacecolor=ANCHOR_COLOR,
        markeredgecolor="white",
        markeredgewidth=0.18 * size,
        clip_on=False,
        zorder=3,
    )


def _patch_points(axes: Axes, decision: _Decision) -> float:
    """The shorter side of a patch in points, by which lines and markers are scaled."""
    box = axes.get_window_extent()
    shorter = min(box.width * np.diff(decision.x_edges).max(), box.height * np.diff(decision.y_edges).max())
    return float(shorter) * 72 / DPI


def _dimmed(page: npt.NDArray) -> npt.NDArray[np.float64]:
    return (1 - DIMMING) * page + DIMMING * np.array(DIMMED_COLOR)


def _show(axes: Axes, pixels: npt.NDArray[np.uint8]) -> None:
    axes.imshow(pixels, extent=(0, 1, 1, 0), aspect="auto", interpolation="antialiased")


def _per_pixel(values: npt.NDArray, page: npt.NDArray[np.uint8], decision: _Decision) -> npt.NDArray:
    """The value of the patch under each pixel of the page."""
    rows, columns = (
        np.clip(np.searchsorted(edges, (np.arange(length) + 0.5) / length, side="right") - 1, 0, len(edges) - 2)
        for edges, length in zip((decision.y_edges, decision.x_edges), page.shape[:2], strict=True)
    )
    return values[np.ix_(rows, columns)]


def _outlines(decision: _Decision) -> npt.NDArray[np.float64]:
    """The line segments around every surviving token of more than one patch, as [segments, ends, (x, y)]."""
    sizes = np.bincount(decision.token.ravel(), minlength=decision.token.size)
    region = np.where(decision.kept & (sizes[decision.token] > 1), decision.token, -1)
    bordered = np.pad(region, 1, constant_values=-1)
    x, y = decision.x_edges, decision.y_edges
    rows, columns = np.nonzero(bordered[1:-1, 1:] != bordered[1:-1, :-1])
    upright = np.stack((np.stack((x[columns], y[rows]), -1), np.stack((x[columns], y[rows + 1]), -1)), axis=1)
    rows, columns = np.nonzero(bordered[1:, 1:-1] != bordered[:-1, 1:-1])
    level = np.stack((np.stack((x[columns], y[rows]), -1), np.stack((x[columns + 1], y[rows]), -1)), axis=1)
    return np.concatenate((upright, level))
