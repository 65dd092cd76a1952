"""What a drawn page knows about its patches, made where pages are drawn: training steps need not wait for it.

Everything is in the words of the tokenizer, so that no list of words limits what a page may say.

Axis names: roles (what a word can be to a patch), patches (raster order), most (tokens that name one thing), kinds (of
labels), rows and across (as in ``print_targets``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from llava.data.print_targets import SLOTS, Placed, PrintTargets, place_characters, print_targets
from llava.pages import CHARACTERS, COLORS, HUES, NONE, SHAPES, Page, PageQuestion, patch_labels, patch_words, plural
from shirg.tiling import Grid
from shirg.transfer import to_device

SLOT_ROLES = tuple(f"slot {number}" for number in range(SLOTS))
ROLES = (*SLOT_ROLES, "word", "row", "column", "figure")
"""What a word can be to a patch: the character in one of its slots, the word printed there, the label of its row or its
column, or the shape and color of what is drawn there."""
MOST = 6
"""Tokens that may name one thing; of a longer word the first ones."""
KINDS = ("row", "column")
"""Of labels; the tower's first head looks for the first kind, its second for the second."""
LONGEST = 24
"""Characters of a word and words of a run behind these are not counted apart."""
_PUNCTUATION = ":.,;-=()"


class Namer:
    """Tokens for what is printed, kept once they are known."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, tuple[int, ...]] = {}
        spelled = [tokenizer(character, add_special_tokens=False).input_ids for character in CHARACTERS]
        # A character of several tokens has no name of its own.
        self.characters = np.array([ids[0] if len(ids) == 1 else NONE for ids in spelled], dtype=np.int64)

    def word(self, text: str) -> tuple[int, ...]:
        """The tokens of a word or a label as questions write it: behind a space, as printed and in small letters."""
        if text not in self._known:
            words = text.strip(_PUNCTUATION) or text
            forms = dict.fromkeys((f" {words.lower()}", f" {words}"))
            ids = [token for form in forms for token in self._tokenizer(form, add_special_tokens=False).input_ids]
            self._known[text] = tuple(dict.fromkeys(ids))[:MOST]
        return self._known[text]

    def figure(self, shape: str, color: str) -> tuple[int, ...]:
        """The tokens of a shape, of its color, and of many such shapes."""
        return tuple(dict.fromkeys(self.word(shape) + self.word(color) + self.word(plural(shape))))[:MOST]


@dataclass(frozen=True, kw_only=True)
class PageTruth:
    """One page, or several stacked. On the host it is small: it travels from the data loader's workers."""

    classes: Tensor
    """(rows, across) int16, as ``PrintTargets.classes``."""
    places: Tensor
    """(rows, across) float32"""
    asked: Tensor
    """(rows, across) bool"""
    order: Tensor
    """(patches, SLOTS) int8: which of its word's characters each slot names; ``NONE`` where it names none."""
    turn: Tensor
    """(patches, 2) int8: which word of its run a patch begins with, counted from the first and from the last one."""
    words: Tensor
    """(patches,) int16: the number of the word over each patch; ``NONE`` where there is none."""
    names: Tensor
    """(roles, patches, most) int32 tokens, ``NONE`` behind the last; the first of them ``NONE`` where nothing is."""
    labels: Tensor
    """(2, kinds, patches) int16: the label that each patch belongs to, and the one printed on it."""

    @staticmethod
    def stack(truths: Sequence["PageTruth"], device: torch.device) -> "PageTruth":
        """Several pages' with a batch in front, on a device; whole numbers become int64."""
        parts = {}
        for field in fields(PageTruth):
            stacked = to_device(torch.stack([getattr(truth, field.name) for truth in truths]), device)
            keeps = stacked.dtype == torch.bool or stacked.is_floating_point()
            parts[field.name] = stacked if keeps else stacked.long()
        return PageTruth(**parts)


def page_truth(page: Page, grid: Grid, patch: int, namer: Namer) -> PageTruth:
    """The truth about a page that is squeezed into rows and columns of patches of ``patch`` pixels."""
    height, width = (cells * patch for cells in grid)
    printed, owner, place = page.print()
    printed = printed.scaled(width / page.image.width, height / page.image.height)
    placed = place_characters(printed, width, height, patch)
    targets = print_targets(printed, width, height, patch)
    order, turn = _order(page, placed, owner, place, printed.word, grid)
    labels = patch_labels(page, grid, slots=1)
    ids, words = patch_words(page, grid)
    return PageTruth(
        classes=torch.from_numpy(targets.classes).short(),
        places=torch.from_numpy(targets.places),
        asked=torch.from_numpy(targets.asked),
        order=torch.from_numpy(order).to(torch.int8),
        turn=torch.from_numpy(turn).to(torch.int8),
        words=torch.from_numpy(ids.flatten()).short(),
        names=torch.from_numpy(_names(page, grid, targets, namer, ids, words)).int(),
        labels=torch.from_numpy(
            np.stack(
                [
                    np.stack([labels.rows, labels.columns]).reshape(2, -1),
                    np.stack([labels.printed_rows, labels.printed_columns]).reshape(2, -1),
                ]
            )
        ).short(),
    )


def _order(
    page: Page,
    placed: Placed,
    owner: NDArray[np.int64],
    place: NDArray[np.int64],
    word: NDArray[np.int64],
    grid: Grid,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """``PageTruth.order`` and ``PageTruth.turn``."""
    rows, columns = grid
    order = np.full((rows * columns, SLOTS), NONE, dtype=np.int64)
    turn = np.full((rows * columns, 2), NONE, dtype=np.int64)
    slot = np.floor(placed.place).astype(np.int64)
    seen = placed.whole & (placed.row >= 0) & (placed.row < rows) & (slot >= 0) & (slot < columns * SLOTS)
    first_word = {int(mark): int(word[owner == mark].min()) for mark in np.unique(owner)}
    last_word = {int(mark): int(word[owner == mark].max()) for mark in np.unique(owner)}
    start = np.zeros(len(word), dtype=np.int64)
    for index in range(1, len(word)):
        start[index] = start[index - 1] if word[index] == word[index - 1] else index
    for index in np.flatnonzero(seen).tolist():
        patch = placed.row[index] * columns + slot[index] // SLOTS
        order[patch, slot[index] % SLOTS] = min(index - start[index], LONGEST)
        mark = page.marks[owner[index]]
        if turn[patch, 0] == NONE and (mark.row is not None or mark.column is not None):
            ends = word[index] - first_word[int(owner[index])], last_word[int(owner[index])] - word[index]
            turn[patch] = np.minimum(ends, LONGEST)
    return order, turn


def _names(
    page: Page, grid: Grid, targets: PrintTargets, namer: Namer, ids: NDArray[np.int64], words: tuple[str, ...]
) -> NDArray[np.int64]:
    """``PageTruth.names``; ``ids`` and ``words`` as ``patch_words`` gives them."""
    names = np.full((len(ROLES), grid[0] * grid[1], MOST), NONE, dtype=np.int64)
    rows, places = np.nonzero(targets.classes != NONE)
    slot = np.floor(targets.places[rows, places]).astype(np.int64)
    patches = rows * grid[1] + slot // SLOTS
    names[slot % SLOTS, patches, 0] = namer.characters[targets.classes[rows, places]]
    labels = patch_labels(page, grid, slots=1)
    tables = (
        ("word", ids, [namer.word(text) for text in words]),
        ("row", labels.rows, [namer.word(text) for text in labels.row_labels]),
        ("column", labels.columns, [namer.word(text) for text in labels.column_labels]),
    )
    for role, index, tokens in tables:
        table = np.full((len(tokens) + 1, MOST), NONE, dtype=np.int64)
        for number, named in enumerate(tokens):
            table[number, : len(named)] = named
        names[ROLES.index(role)] = table[index.flatten()]
    shapes, colors = labels.shapes.flatten(), labels.colors.flatten()
    for patch in np.flatnonzero((shapes != NONE) & (colors != NONE) & (colors < len(HUES))):
        drawn = namer.figure(SHAPES[shapes[patch]], COLORS[colors[patch]])
        names[ROLES.index("figure"), patch, : len(drawn)] = drawn
    return names


def answer_pointers(page: Page, question: PageQuestion, grid: Grid, patch: int) -> list[tuple[int, int, int, int]]:
    """Per character of an answer that stands on the page as it is: the patch and the slot to read it from, and another
    patch and slot where it may be named too. ``NONE`` for blanks; empty for an answer that is no single run of print.
    """
    if len(question.answer_boxes) != 1:
        return []
    (box,) = question.answer_boxes
    found = [number for number, mark in enumerate(page.marks) if mark.box == box and mark.text == question.answer]
    if not found:
        return []
    rows, columns = grid
    height, width = rows * patch, columns * patch
    printed, owner, place = page.print()
    placed = place_characters(
        printed.scaled(width / page.image.width, height / page.image.height), width, height, patch
    )
    pointers = [(NONE, NONE, NONE, NONE)] * len(question.answer)
    for index in np.flatnonzero(owner == found[0]):
        middle = placed.place[index]
        slot = int(middle)
        other = slot + (1 if middle - slot > 0.5 else -1)
        if abs(middle - round(middle)) > _BESIDE:
            other = slot
        row = int(placed.row[index])
        if placed.whole[index] and 0 <= row < rows and min(slot, other) >= 0 and max(slot, other) < columns * SLOTS:
            pointers[int(place[index])] = (*_at(row, slot, columns), *_at(row, other, columns))
    return pointers


_BESIDE = 0.25
"""Middles this near to a slot's border, in slots, may be named on either side."""


def _at(row: int, slot: int, columns: int) -> tuple[int, int]:
    return row * columns + slot // SLOTS, slot % SLOTS
