"""What a drawn page knows about its patches, made where pages are drawn: training steps need not wait for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from llava.pages import CHARACTERS, COLORS, HUES, NONE, SHAPES, WORDS, Page, patch_labels, patch_words
from shirg.transfer import to_device

LABELS = (*CHARACTERS, *WORDS)
NAMES: Mapping[str, Sequence[str]] = {
    "character": CHARACTERS,
    "second": CHARACTERS,
    "third": CHARACTERS,
    "word": WORDS,
    "shape": SHAPES,
    "color": COLORS,
    "row": LABELS,
    "column": LABELS,
    "panel": LABELS,
}
"""What is asked of a patch, and the classes. A short number or code is spelled out, whatever part of it a patch
shows; of other print that is no known word, the characters in the patch; of a label, the first word. Only hues are
named as colors of print."""

ROLES: Mapping[str, Sequence[str]] = {
    "figure": ("character", "word", "shape", "color"),
    "second": ("second",),
    "third": ("third",),
    "row": ("row",),
    "column": ("column",),
    "panel": ("panel",),
}
"""What a word can be to a patch: what is drawn there, its second or third character, or the label of its row, its
column or its chart."""

KINDS = ("row", "column")
"""Of labels; the tower's first head looks for the first kind, its second for the second."""

_SPELLED = 3
_WORD_IDS = {word: index for index, word in enumerate(WORDS)}
_LABEL_IDS = {label: index for index, label in enumerate(LABELS)}

PatchTargets = Mapping[str, Tensor]
"""Per entry of ``NAMES`` (batch, patches) int64; ``NONE`` where there is nothing to name."""


def patch_targets(pages: Sequence[Page], grid: int) -> PatchTargets:
    """What every patch of the pages shows, on the host."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in NAMES}
    for page in pages:
        labels = patch_labels(page, grid, slots=_SPELLED)
        ids, words = patch_words(page, grid)
        known = np.array([*(_WORD_IDS.get(word, NONE) for word in words), NONE], dtype=np.int64)
        spelled = np.array([*map(_spell, words), [NONE] * _SPELLED], dtype=np.int64)
        short = np.array([*(_is_short(word) for word in words), False])
        word = known[ids]
        characters = np.where(short[ids][..., None], spelled[ids], labels.characters)
        characters[word != NONE] = NONE
        for slot, name in enumerate(("character", "second", "third")):
            columns[name].append(characters[..., slot])
        columns["word"].append(word)
        columns["shape"].append(labels.shapes)
        columns["color"].append(np.where((labels.shapes == NONE) & (labels.colors >= len(HUES)), NONE, labels.colors))
        columns["row"].append(_label_classes(labels.row_labels)[labels.rows])
        columns["column"].append(_label_classes(labels.column_labels)[labels.columns])
        columns["panel"].append(_label_classes(labels.panel_labels)[labels.panels])
    return {name: torch.from_numpy(np.stack(values)).flatten(1) for name, values in columns.items()}


def _is_short(word: str) -> bool:
    return len(word) <= _SPELLED and word not in _WORD_IDS


def _spell(word: str) -> list[int]:
    """The classes of a short word's characters."""
    codes = [CHARACTERS.index(character) for character in word[:_SPELLED]]
    return codes + [NONE] * (_SPELLED - len(codes))


def _label_classes(labels: Sequence[str]) -> np.ndarray:
    """Classes of the labels' first words, or characters of unknown words; NONE, which is the index -1, ends them."""
    firsts = [label.split()[0] for label in labels]
    return np.array([*(_LABEL_IDS.get(word, _LABEL_IDS[word[0]]) for word in firsts), NONE], dtype=np.int64)


def label_targets(pages: Sequence[Page], grid: int) -> tuple[Tensor, Tensor]:
    """Which label each patch belongs to, and which label is printed on it: (kinds, batch, patches) int64 each.

    A label's number says the same on one page only; ``NONE`` where there is no label.
    """
    labels = [patch_labels(page, grid, slots=1) for page in pages]
    belongs = [[each.rows for each in labels], [each.columns for each in labels]]
    printed = [[each.printed_rows for each in labels], [each.printed_columns for each in labels]]
    own, shown = (torch.from_numpy(np.array(ids)).flatten(2) for ids in (belongs, printed))
    return own, shown


@dataclass(frozen=True, kw_only=True)
class PageTruth:
    """One page's patches in raster order. On the host, and small: it travels from the data loader's workers."""

    shown: Tensor
    """(names, patches) int16: what each patch shows, for every entry of ``NAMES``."""
    labels: Tensor
    """(2, kinds, patches) int16: the label that each patch belongs to, and the one printed on it."""


def page_truth(page: Page, grid: int) -> PageTruth:
    """The truth about a page of ``grid`` x ``grid`` patches."""
    shown = torch.cat([*patch_targets([page], grid).values()])
    labels = torch.stack(label_targets([page], grid)).squeeze(2)
    return PageTruth(shown=shown.short(), labels=labels.short())


def shown_targets(truths: Sequence[PageTruth], device: torch.device) -> PatchTargets:
    """As ``patch_targets`` gives them for the same pages, on a device."""
    stacked = to_device(torch.stack([truth.shown for truth in truths], dim=1), device)
    return dict(zip(NAMES, stacked.long(), strict=True))


def stacked_labels(truths: Sequence[PageTruth], device: torch.device) -> Tensor:
    """(2, kinds, batch, patches) int64: what ``label_targets`` gives for the same pages, on a device."""
    return to_device(torch.stack([truth.labels for truth in truths], dim=2), device).long()
