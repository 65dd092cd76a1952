"""What pages say of how they differ, for reports."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from llava.pages import STYLES, draw_page
from llava.pages.theme import draw_theme, theme_traits
from llava.pages.wear import USUAL_WEAR, Damage, do_damage, draw_damage

STYLE = STYLES["print_small"]


@pytest.mark.parametrize(
    ("changes", "traits"),
    [
        ({"size": 12.0, "side": 672, "height": 672, "width": 672}, {"size": "11 to 13 px"}),
        ({"size": 26.0, "side": 672, "height": 1344, "width": 1344}, {"size": "13 to 16 px"}),
        ({"size": 10.9, "side": 336, "height": 336, "width": 336}, {"size": "below 11 px"}),
        ({"size": 20.0, "side": 336, "height": 336, "width": 336}, {"size": "20 px and more"}),
        ({"height": 700, "width": 1000}, {"letters": "below 0.8 as wide as high"}),
        ({"height": 1000, "width": 1000}, {"letters": "0.8 to 1.25 as wide as high"}),
        ({"height": 1000, "width": 700}, {"letters": "1.25 as wide as high and more"}),
        ({"held_out": True}, {"type": "held-out families"}),
    ],
)
def test_traits_of_a_theme_are_those_of_the_view(changes, traits):
    assert STYLE.looks is not None
    theme = draw_theme(np.random.default_rng(2), STYLE.looks)
    found = theme_traits(replace(theme, **changes))
    assert traits.items() <= found.items()
    assert found.keys() == {"type", "size", "letters", "ground", "contrast"}


def test_dark_and_faint_pages_say_so():
    assert STYLE.looks is not None
    dark = draw_theme(np.random.default_rng(2), replace(STYLE.looks, dark=1.0, tinted=0.0))
    light = draw_theme(np.random.default_rng(2), replace(STYLE.looks, dark=0.0, tinted=0.0))
    assert theme_traits(dark)["ground"] == "dark"
    assert theme_traits(light)["ground"] == "light"
    colors = {**light.palette.colors, "black": (180, 180, 180)}
    faint = replace(light, palette=replace(light.palette, paper=(255, 255, 255), colors=colors))
    assert theme_traits(faint)["contrast"] == "below 140 levels"


def test_drawn_pages_have_traits_that_vary_and_raster_pages_none():
    seen = defaultdict(set)
    for number in range(40):
        for name, value in draw_page("doc_page", "train", 5, number, STYLE).traits.items():
            seen[name].add(value)
    assert seen.keys() == {"type", "size", "letters", "ground", "contrast", "damage"}
    assert all(len(values) > 1 for name, values in seen.items() if name != "type")
    assert draw_page("doc_page", "shifted", 5, 0, STYLE).traits["type"] == "held-out families"
    assert draw_page("doc_page", "train", 5, 0, STYLES["typed"]).traits == {}


def test_damage_is_told_by_its_names_and_none_changes_nothing():
    image = draw_page("doc_page", "train", 5, 0, replace(STYLE, wear=USUAL_WEAR.scaled(0))).image
    image.paste((200, 20, 20), (5, 7, 25, 31))
    whole = Damage(gray=True, blur=0.5, shadow=(1.0, 0.3, 5.0, 0.1), noise=3.0, quality=50)
    assert whole.names == ("gray", "blur", "shadow", "noise", "JPEG")
    rng = np.random.default_rng(0)
    assert np.array_equal(np.asarray(do_damage(rng, image, Damage())), np.asarray(image))
    assert draw_damage(rng, USUAL_WEAR.scaled(0)) == Damage()
    for name, value in (("gray", True), ("blur", 0.5), ("noise", 3.0), ("quality", 50), ("shadow", whole.shadow)):
        damage = Damage(**{name: value})
        assert len(damage.names) == 1
        assert not np.array_equal(np.asarray(do_damage(rng, image, damage)), np.asarray(image))
