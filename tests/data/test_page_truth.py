"""What pages know about their patches, as data loaders' workers send it: the same as asked of the pages themselves."""

import pytest
import torch
from torch.testing import assert_close

from llava.data.page_truth import NAMES, label_targets, page_truth, patch_targets, shown_targets, stacked_labels
from llava.pages import FAMILIES, NONE, STYLES, draw_page

GRID, PAGES = 12, 11


@pytest.fixture(scope="module")
def pages():
    families = tuple(FAMILIES)
    return [draw_page(families[index % len(families)], "train", 4, index, STYLES["shapes"]) for index in range(PAGES)]


@pytest.fixture(scope="module")
def truths(pages):
    return [page_truth(page, GRID) for page in pages]


def test_it_is_small(truths):
    for truth in truths:
        assert truth.shown.dtype == truth.labels.dtype == torch.int16
        assert truth.shown.shape == (len(NAMES), GRID**2)
        assert truth.labels.shape == (2, 2, GRID**2)


def test_what_patches_show_comes_back(pages, truths):
    found, expected = shown_targets(truths, torch.device("cpu")), patch_targets(pages, GRID)
    assert list(found) == list(expected)
    for name, target in expected.items():
        assert_close(found[name], target, rtol=0, atol=0)
    assert sum(bool((target != NONE).any()) for target in found.values()) > 5


def test_labels_of_patches_come_back(pages, truths):
    belongs, printed = stacked_labels(truths, torch.device("cpu"))
    for found, expected in zip((belongs, printed), label_targets(pages, GRID), strict=True):
        assert_close(found, expected, rtol=0, atol=0)
        assert (found != NONE).flatten(1).any(1).all()
