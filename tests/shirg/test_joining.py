"""Views joined to pages: every patch at its place, whatever stands beside it in the batch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shirg.joining import group_alike, join_views, split_views, together

VIEW = (3, 5)
TILINGS = st.lists(st.sampled_from([(1, 1), (2, 1), (1, 3), (2, 3)]), min_size=1, max_size=4)


def grids_of(tilings):
    return [(rows * VIEW[0], columns * VIEW[1]) for rows, columns in tilings]


def join_by_loops(values, tilings):
    """Per page, patch by patch: which view shows it, and where."""
    pages, start = [], 0
    for rows, columns in tilings:
        page = []
        for row in range(rows * VIEW[0]):
            for column in range(columns * VIEW[1]):
                view = row // VIEW[0] * columns + column // VIEW[1]
                page.append(values[start + view, row % VIEW[0] * VIEW[1] + column % VIEW[1]])
        pages.append(torch.stack(page))
        start += rows * columns
    return pages


@settings(max_examples=40, deadline=None, derandomize=True)
@given(tilings=TILINGS)
def test_views_join_to_pages_and_split_again(tilings):
    views = sum(rows * columns for rows, columns in tilings)
    values = torch.arange(views * 15 * 2).view(views, 15, 2)
    grids = grids_of(tilings)
    joined = join_views(values, grids, view=VIEW)
    expected = join_by_loops(values, tilings)
    assert joined.shape == (len(tilings), max(len(page) for page in expected), 2)
    for row, page in zip(joined, expected, strict=True):
        assert torch.equal(row[: len(page)], page)
        assert not row[len(page) :].any()
    assert torch.equal(split_views(joined, grids, view=VIEW), values)


def test_one_view_a_page_is_left_as_it_is():
    values = torch.rand(2, 15, 7)
    assert join_views(values, [VIEW, VIEW], view=VIEW) is values
    assert split_views(values, [VIEW, VIEW], view=VIEW) is values


@pytest.mark.parametrize(("views", "grids"), [(5, [(6, 10)]), (3, [(3, 5), (3, 5)]), (2, [(6, 7)])])
def test_views_that_do_not_tile_are_refused(views, grids):
    with pytest.raises(ValueError, match="do not tile pages"):
        join_views(torch.zeros(views, 15), grids, view=VIEW)


def test_gradients_reach_every_view():
    values = torch.rand(5, 15, 2, requires_grad=True)
    join_views(values, [(3, 5), (6, 10)], view=VIEW).sum().backward()
    assert torch.equal(values.grad, torch.ones_like(values))


def test_groups_come_back_to_their_places():
    grids = [(2, 3), (5, 1), (2, 3), (7, 1)]
    groups = group_alike(grids)
    assert groups == {(2, 3): [0, 2], (5, 1): [1], (7, 1): [3]}
    parts = [torch.tensor([[0, 0], [2, 2]]), torch.tensor([[1, 1, 1]]), torch.tensor([[3]])]
    rows = together(parts, list(groups.values()), fill=-1)
    assert rows.tolist() == [[0, 0, -1], [1, 1, 1], [2, 2, -1], [3, -1, -1]]
    assert together(parts[:1], [[0, 1]]) is parts[0]
