"""Freely printed grids of entities: twelve layouts, none of them one of the shifted look."""

import pytest

from llava.pages import STYLES, draw_page
from llava.pages.entity_grid import _FREE_LAYOUTS
from llava.pages.looks import SHIFTED_LOOK


def test_there_are_twelve_layouts_and_the_shifted_ones_are_others():
    assert len(set(_FREE_LAYOUTS)) == 12
    grounds, corners = ({layout.split()[place] for layout in _FREE_LAYOUTS} for place in (0, 1))
    for layout in SHIFTED_LOOK.grid_layouts:
        ground, corner = layout.split()
        assert ground not in grounds
        assert corner not in corners


@pytest.mark.parametrize("layout", _FREE_LAYOUTS)
def test_labels_stand_in_their_corner_and_name_their_line(layout, monkeypatch):
    monkeypatch.setattr("llava.pages.entity_grid._FREE_LAYOUTS", (layout,))
    page = draw_page("entity_grid", "train", 3, _FREE_LAYOUTS.index(layout), STYLES["print_small"])
    entities = [mark for mark in page.marks if mark.row and mark.column]
    rows = [mark for mark in page.marks if mark.row and not mark.column]
    columns = [mark for mark in page.marks if mark.column and not mark.row]
    assert entities
    assert len({mark.text for mark in rows}) == len(rows) >= 2
    assert len({mark.text for mark in columns}) == len(columns) >= 2
    left, right = min(mark.box[0] for mark in entities), max(mark.box[2] for mark in entities)
    top = min(mark.box[1] for mark in entities)
    assert all(mark.box[3] < top for mark in columns)
    assert all(mark.box[2] < left if "left" in layout else mark.box[0] > right for mark in rows)
    for mark in entities:
        row = min(rows, key=lambda label: abs(sum(label.box[1::2]) - sum(mark.box[1::2])))
        column = min(columns, key=lambda label: abs(sum(label.box[::2]) - sum(mark.box[::2])))
        assert (row.text, column.text) == (mark.row, mark.column)
