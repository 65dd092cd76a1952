"""What every patch of a page shows, for losses that teach a vision tower to read before it can answer.

Axis names: down, across (rows and columns of patches), slots (characters of one patch).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from llava.pages.characters import CHARACTERS, NONE, character_classes
from llava.pages.page import COLORS, SHAPES, Box, Mark, Page, PageQuestion
from shirg.tiling import Grid

_INK_SPAN = 64
_PUNCTUATION = ":.,"
_ROUNDING = 1e-6
_LEAST_SHARE = 1 / 3 - _ROUNDING


@dataclass(frozen=True, kw_only=True)
class PatchLabels:
    """Classes of patches, all int64, ``NONE`` where there is nothing to name."""

    characters: NDArray[np.int64]
    """(down, across, slots): indices into ``CHARACTERS`` of the characters of the patch, in drawing order."""
    shapes: NDArray[np.int64]
    """(down, across): index into ``SHAPES``."""
    colors: NDArray[np.int64]
    """(down, across): index into ``COLORS`` of the owner."""
    rows: NDArray[np.int64]
    """(down, across): index into ``row_labels`` of the row, or series, that the owner belongs to."""
    columns: NDArray[np.int64]
    """(down, across): the same for columns and categories."""
    panels: NDArray[np.int64]
    """(down, across): index into ``panel_labels`` of the chart that the owner belongs to."""
    printed_rows: NDArray[np.int64]
    """(down, across): index into ``row_labels`` of the label that is printed there."""
    printed_columns: NDArray[np.int64]
    """(down, across): the same for ``column_labels``."""
    owners: NDArray[np.int64]
    """(down, across): index into ``page.marks`` of the shape over the patch, else of the first character's run."""
    row_labels: tuple[str, ...]
    column_labels: tuple[str, ...]
    panel_labels: tuple[str, ...]


def patch_labels(page: Page, grid: Grid, *, slots: int = 4) -> PatchLabels:
    """Marks turned into classes of a page's rows and columns of patches.

    A character belongs to the patch that its center lies in; beyond ``slots`` the later ones are left out. A character
    that stands alone also covers the patches whose centers its box holds, where no character is centered: a large
    letter shows on all of them. A shape covers those patches, and always the one that holds the box's own center; where
    shapes overlap, the last drawn is seen.

    Raises:
        ValueError: if ``grid`` or ``slots`` is not positive.
    """
    if min(grid) < 1 or slots < 1:
        raise ValueError(f"grid and slots must be positive, got {grid} and {slots}")
    down, across = grid
    owners = np.full(grid, NONE, dtype=np.int64)
    characters = _characters(page, grid, slots, owners)
    for index, mark in enumerate(page.marks):
        if len(mark.text) == 1 and mark.text in CHARACTERS:
            x0, y0, x1, y1 = mark.box
            covered = (_centers(y0, y1, down), _centers(x0, x1, across))
            free = characters[covered][..., 0] == NONE
            characters[covered][free, 0] = CHARACTERS.index(mark.text)
            owners[covered][free] = index
    shapes = np.full(grid, NONE, dtype=np.int64)
    for index, mark in enumerate(page.marks):
        if mark.shape:
            x0, y0, x1, y1 = mark.box
            covered = (_centers(y0, y1, down), _centers(x0, x1, across))
            middle = (_patch((y0 + y1) / 2, down), _patch((x0 + x1) / 2, across))
            for place in (covered, middle):
                owners[place] = index
                shapes[place] = SHAPES.index(mark.shape)
    row_labels, rows, printed_rows = _label_ids(page.marks, "row")
    column_labels, columns, printed_columns = _label_ids(page.marks, "column")
    panel_labels, panels, _ = _label_ids(page.marks, "panel")
    colors = np.array([*(COLORS.index(mark.color) for mark in page.marks), NONE], dtype=np.int64)
    return PatchLabels(
        characters=characters,
        shapes=shapes,
        colors=colors[owners],  # NONE is -1: the last entry of each table
        rows=rows[owners],
        columns=columns[owners],
        panels=panels[owners],
        printed_rows=printed_rows[owners],
        printed_columns=printed_columns[owners],
        owners=owners,
        row_labels=row_labels,
        column_labels=column_labels,
        panel_labels=panel_labels,
    )


def patch_words(page: Page, grid: Grid) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The printed word over each patch: (down, across) int64 indices into the words, ``NONE`` where there is none.

    A word is over a patch if they share at least a third of the lesser height and of the lesser width; where several
    are, the one that covers most of it. Words stand in order of drawing, without the marks of punctuation around them.

    Raises:
        ValueError: if ``grid`` is not positive.
    """
    if min(grid) < 1:
        raise ValueError(f"grid must be positive, got {grid}")
    ids = np.full(grid, NONE, dtype=np.int64)
    most = np.zeros(grid)
    words: list[str] = []
    rows, columns = (np.arange(cells + 1) / cells for cells in grid)
    for mark in page.marks:
        for word, (x0, y0, x1, y1) in mark.words():
            across, down = (
                np.clip(np.minimum(borders[1:], high) - np.maximum(borders[:-1], low), 0, None)
                / min(high - low, 1 / (len(borders) - 1))
                for borders, low, high in ((columns, x0, x1), (rows, y0, y1))
            )
            cover = np.outer(np.where(down > _LEAST_SHARE, down, 0), np.where(across > _LEAST_SHARE, across, 0))
            won = cover > most + _ROUNDING
            most[won], ids[won] = cover[won], len(words)
            words.append(word.strip(_PUNCTUATION) or word)
    return ids, tuple(words)


def patches_under(boxes: tuple[Box, ...], grid: Grid) -> NDArray[np.bool_]:
    """(down, across): True where a patch and one of the boxes share an area."""
    under = np.zeros(grid, dtype=np.bool_)
    down, across = grid
    for x0, y0, x1, y1 in boxes:
        rows = slice(max(0, int(np.floor(y0 * down))), int(np.ceil(y1 * down)))
        columns = slice(max(0, int(np.floor(x0 * across))), int(np.ceil(x1 * across)))
        under[rows, columns] = True
    return under


def answer_patches(question: PageQuestion, grid: Grid) -> NDArray[np.bool_]:
    """(down, across): the patches that the answer is read from."""
    return patches_under(question.answer_boxes, grid)


def evidence_patches(question: PageQuestion, grid: Grid) -> NDArray[np.bool_]:
    """(down, across): the patches of the labels and figures that the question names."""
    return patches_under(question.evidence, grid)


def inked_patches(image: Image.Image, grid: Grid) -> NDArray[np.bool_]:
    """(down, across): the patches whose luma spans at least 64 of 255 levels.

    Flat tints, insides of bars and paper noise are no ink by this rule; print, edges of figures and dark rules are.

    Raises:
        ValueError: if the patches do not tile the image.
    """
    rows, columns = grid
    if image.width % columns or image.height % rows:
        raise ValueError(f"{columns} x {rows} patches do not tile {image.width} x {image.height} pixels; take divisors")
    luma = np.asarray(image.convert("L")).reshape(rows, image.height // rows, columns, image.width // columns)
    return luma.max(axis=(1, 3)).astype(int) - luma.min(axis=(1, 3)) >= _INK_SPAN


def _characters(page: Page, grid: Grid, slots: int, owners: NDArray[np.int64]) -> NDArray[np.int64]:
    """(down, across, slots); ``owners`` gets the run of each patch's first character."""
    down, across = grid
    table = np.full((down, across, slots), NONE, dtype=np.int64)
    runs = [index for index, mark in enumerate(page.marks) if mark.text]
    if not runs:
        return table
    marks = [page.marks[index] for index in runs]
    lengths = np.array([len(mark.text) for mark in marks])
    codes = character_classes("".join(mark.text for mark in marks))
    x = np.concatenate([(np.array(mark.edges[:-1]) + mark.edges[1:]) / 2 for mark in marks])
    y = np.repeat([(mark.box[1] + mark.box[3]) / 2 for mark in marks], lengths)
    run = np.repeat(runs, lengths)
    patch = np.clip((y * down).astype(int), 0, down - 1) * across + np.clip((x * across).astype(int), 0, across - 1)
    printed = codes != NONE
    codes, patch, run = codes[printed], patch[printed], run[printed]
    order = np.argsort(patch, kind="stable")
    codes, patch, run = codes[order], patch[order], run[order]
    slot = np.arange(len(patch)) - np.searchsorted(patch, patch)
    fits = slot < slots
    table.reshape(-1, slots)[patch[fits], slot[fits]] = codes[fits]
    owners.reshape(-1)[patch[slot == 0]] = run[slot == 0]
    return table


def _centers(low: float, high: float, cells: int) -> slice:
    """The patches along an axis of so many whose centers lie in [low, high]."""
    return slice(max(0, int(np.ceil(low * cells - 0.5))), max(0, int(np.floor(high * cells - 0.5)) + 1))


def _patch(place: float, cells: int) -> int:
    return min(cells - 1, max(0, int(place * cells)))


def _label_ids(marks: Sequence[Mark], kind: str) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.int64]]:
    """The different labels of a kind in order of appearance, and per mark which it belongs to and which it prints.

    Charts beside each other have labels of their own, though they may read alike. A NONE ends the indices.
    """
    owned = [None if getattr(mark, kind) is None else (mark.panel, getattr(mark, kind)) for mark in marks]
    index = {label: place for place, label in enumerate(dict.fromkeys(label for label in owned if label is not None))}
    belongs = [NONE if label is None else index[label] for label in owned]
    prints = [
        index[label]
        if mark.label and label is not None
        else index.get((mark.panel, mark.text.rstrip(_PUNCTUATION)), NONE)
        if label in (None, (mark.panel, mark.text))
        else NONE
        for mark, label in zip(marks, owned, strict=True)
    ]
    names = tuple(name for _, name in index)
    return names, np.array([*belongs, NONE], dtype=np.int64), np.array([*prints, NONE], dtype=np.int64)
