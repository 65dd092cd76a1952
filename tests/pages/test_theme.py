"""Looks of freely printed pages: print that can be read where the page is squeezed, and type of the right families."""

from collections.abc import Iterator

import numpy as np
import pytest

from llava.pages import COLORS, HUES
from llava.pages.faces import shows
from llava.pages.looks import Palette
from llava.pages.theme import Looks, Theme, draw_palette, draw_theme
from llava.pages.vocabulary import BEYOND_ASCII
from tests.print_helpers import bundled_faces, kept_for_the_test, trained

SIDE, SIZES = 331, (9.0, 17.0)
COUNT = 300


@pytest.fixture(autouse=True)
def _bundled() -> Iterator[None]:
    with bundled_faces():
        yield


def themes(**settings: object) -> list[Theme]:
    looks = Looks(side=SIDE, sizes=SIZES, **settings)
    return [draw_theme(np.random.default_rng(seed), looks) for seed in range(COUNT)]


def difference(first: tuple[int, ...], second: tuple[int, ...]) -> float:
    return float(np.abs(np.array(first) - np.array(second)).mean())


def test_print_is_large_enough_where_the_page_is_squeezed_into_its_view():
    low, high = SIZES
    sizes = []
    for theme in themes():
        down, across = theme.size * SIDE / theme.height, theme.size * SIDE / theme.width
        assert down >= low * 0.99
        assert across >= 0.74 * low
        assert down <= max(high, 0.75 * low * theme.width / theme.height) * 1.01
        sizes.append(down)
        assert theme.line == theme.size * theme.leading
        assert 1.2 <= theme.leading <= 1.7
    assert np.quantile(sizes, 0.15) < 11
    assert np.quantile(sizes, 0.85) > 14


def test_paper_comes_in_many_shapes_and_in_at_least_the_view_s_pixels():
    shapes = [theme.width / theme.height for theme in themes()]
    assert sum(shape < 0.75 for shape in shapes) > 30
    assert sum(shape > 1.25 for shape in shapes) > 30
    assert all(0.55 < shape < 1.65 for shape in shapes)
    for theme in themes():
        assert SIDE**2 * 0.98 < theme.width * theme.height < (1.6 * SIDE) ** 2 * 1.02


@pytest.mark.parametrize(("held_out", "book"), [(False, trained), (True, kept_for_the_test)])
def test_type_is_of_the_families_that_the_split_may_show(held_out, book):
    drawn = themes(held_out=held_out)
    allowed = {face.path for face in book().faces}
    assert {theme.plain.path for theme in drawn} | {theme.strong.path for theme in drawn} <= allowed
    complete = {face.family for face in book().faces if all(shows(face.path, each) for each in BEYOND_ASCII)}
    assert {theme.plain.family for theme in drawn} == complete
    assert len(complete) > 2


def test_what_stands_out_is_bold_upright_and_of_the_same_family():
    bold = 0
    for theme in themes():
        assert theme.strong.family == theme.plain.family
        if theme.strong != theme.plain:
            assert theme.strong.style == "Bold"
        assert theme.strong.style == "Bold" or theme.plain.family not in ("DejaVu Sans", "Liberation Sans")
        bold += theme.strong != theme.plain
    assert bold > 50


class TestPalettes:
    def test_every_name_of_a_color_has_one_and_all_differ(self):
        for theme in themes():
            assert set(theme.palette.colors) == {*COLORS}
            assert len({*theme.palette.colors.values()}) == len(COLORS)

    def test_ink_is_told_from_paper_and_from_everything_drawn_below_it(self):
        for theme in themes():
            palette = theme.palette
            assert difference(palette.colors["black"], palette.paper) > 110
            assert difference(palette.colors["black"], palette.tint) > 95
            assert difference(palette.tint, palette.paper) < 35
            assert palette.colors["white"] == palette.paper
            gray = difference(palette.colors["gray"], palette.paper)
            assert difference(palette.rule, palette.paper) < gray < difference(palette.colors["black"], palette.paper)

    @pytest.mark.parametrize(("dark", "share"), [(0.0, 0.0), (0.4, 0.4), (1.0, 1.0)])
    def test_light_print_on_dark_paper_is_as_frequent_as_is_said(self, dark, share):
        drawn = [draw_palette(np.random.default_rng(seed), dark=dark, tinted=0.3) for seed in range(COUNT)]
        found = sum(np.mean(palette.paper) < np.mean(palette.colors["black"]) for palette in drawn)
        assert found / COUNT == pytest.approx(share, abs=0.08)

    def test_paper_is_tinted_as_often_as_is_said(self):
        drawn = [draw_palette(np.random.default_rng(seed), dark=0.0, tinted=0.4) for seed in range(COUNT)]
        assert sum(len({*palette.paper}) > 1 for palette in drawn) / COUNT == pytest.approx(0.4, abs=0.08)

    def test_a_hue_is_nearer_to_its_own_middle_than_to_another_s(self):
        palettes: list[Palette] = [theme.palette for theme in themes()]
        middles = {name: np.mean([palette.colors[name] for palette in palettes], axis=0) for name in HUES}
        right = 0
        for palette in palettes:
            for name in HUES:
                distances = {other: np.linalg.norm(middles[other] - palette.colors[name]) for other in HUES}
                right += min(distances, key=distances.__getitem__) == name
        assert right > 0.99 * len(palettes) * len(HUES)


def test_the_same_numbers_give_the_same_look():
    first, again = themes()[:20], themes()[:20]
    assert first == again
    assert len({(theme.width, theme.palette.paper, theme.size) for theme in first}) > 15
