"""Methods that choose tokens: which budgets and settings fit which."""

import pytest

from llava.eval.methods import Budget, Method
from shirg.config import ShirgXConfig
from tests.eval.test_evaluate import SETTINGS, method_of


def test_peers_count_the_scaffold_only_where_shirg_x_has_one() -> None:
    bare = SETTINGS.replace(scaffold=False)
    assert Method(name="divprune", settings=bare).scaffold_tokens == 0
    assert method_of("divprune").scaffold_tokens == 9
    assert method_of("shirg_x").patch_settings.scaffold


@pytest.mark.parametrize(
    ("name", "budgets", "message"),
    [
        ("best", (), "there is no method 'best'; use one of shirg_x, stock, scaled_down"),
        ("shirg_x", (33,), "budget must be auto, question or one of 32, 48, 64, 128, got 33"),
        ("tome", (32, 10_000), "budget must be auto, question or one of"),
        ("stock", (32,), "stock has a number of tokens of its own"),
        ("all_patches", (32,), "all_patches has a number of tokens of its own"),
        ("shirg_x", (32, 48, 32), "each budget can be given once, got 32, 48, 32"),
    ],
)
def test_what_cannot_be_is_refused(name: str, budgets: tuple[Budget, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        method_of(name, *budgets)


def test_a_total_beyond_the_patches_is_refused_where_the_scaffold_does_not_take_its_part() -> None:
    wide = SETTINGS.replace(budgets=(135, 136), budget=136)
    with pytest.raises(ValueError, match="at budget 136 the method tome would keep 145 of 144 patches"):
        Method(name="tome", settings=wide)
    with pytest.raises(ValueError, match="at budget 136 the method scaled_down would keep 145 of 144 patches"):
        Method(name="scaled_down", settings=wide)
    with pytest.raises(ValueError, match="scaled_down shows the whole view, which resize: pad"):
        Method(name="scaled_down", settings=SETTINGS.replace(resize="pad"))
    for name, budget in (("tome", 135), ("scaffold_random", 136), ("shirg_x", 136)):
        assert Method(name=name, settings=wide, budgets=(budget,)).budgets == (budget,)


def test_settings_that_say_stock_fit_only_stock() -> None:
    with pytest.raises(ValueError, match="the settings say mode: stock"):
        Method(name="ink", settings=ShirgXConfig(mode="stock"))
