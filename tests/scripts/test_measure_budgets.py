"""Which budgets a head picks: the summary's numbers, and the command line."""

import json
from pathlib import Path

import pytest
import torch

from llava.inference.checkpoint import BUNDLED_MODEL
from llava.inference.session import Session
from llava.mm_utils import process_images
from llava.pages import FAMILIES, PageStream, inked_patches
from scripts import measure_budgets
from shirg.config import ShirgXConfig


def test_a_head_that_spends_more_on_fuller_pages() -> None:
    found = [(0.1 * place, 16 if place < 4 else 64) for place in (7, 0, 3, 5, 1, 6, 2, 4)]
    numbers = measure_budgets.summarize(found, (16, 64, 256))
    assert numbers["share"] == {16: 0.5, 64: 0.5, 256: 0.0}
    assert numbers["mean"] == 40
    assert numbers["quarters"] == [16, 16, 64, 64]
    assert numbers["rank_correlation"] == pytest.approx(0.8729, abs=1e-4)


def test_a_head_that_spends_less_on_fuller_pages() -> None:
    numbers = measure_budgets.summarize([(0.1, 64), (0.2, 64), (0.3, 16), (0.4, 16)], (16, 64))
    assert numbers["quarters"] == [64, 64, 16, 16]
    assert numbers["rank_correlation"] < -0.8


def test_a_head_that_always_picks_the_same_has_no_correlation() -> None:
    assert measure_budgets.summarize([(0.1, 16), (0.2, 16), (0.3, 16), (0.3, 16)], (16, 64))["rank_correlation"] is None


def test_budgets_and_fullness_are_those_of_the_pages() -> None:
    session = Session.load(shirg=ShirgXConfig(similarity="learned", budgets=(16, 64, 256)))
    head, handle = session.model.shirg_x.budget_head, session.handle
    assert handle is not None
    with torch.no_grad():
        # More entropy than any page's mean on the left edge of the pooled map: the largest budget, else the smallest.
        head.hidden.weight.zero_()
        head.hidden.weight.view(32, 32, 32)[0, :, :8] = 1.0
        head.hidden.bias.zero_()
        head.out.weight.zero_()
        head.out.weight[2, 0] = 1.0
        head.out.bias.copy_(torch.tensor([60.0, 0.0, 0.0]))
    found = measure_budgets.measure(session, "entity_grid", "validation", "typed_full", 6)
    stream = PageStream("entity_grid", "validation", 0, style="typed_full")
    for number, (full, budget) in enumerate(found):
        image = stream[number].image
        assert full == pytest.approx(inked_patches(image, (48, 48)).mean())
        (view,) = process_images([image], session.image_processor, session.model.config)
        assert budget == handle.config.budgets[int(handle.budget_logits(view, [(48, 48)]).argmax())]
    assert {budget for _, budget in found} == {16, 256}


def test_the_head_is_asked_although_the_settings_fix_a_budget(tmp_path: Path) -> None:
    for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (tmp_path / name).symlink_to(BUNDLED_MODEL / name)
    config = json.loads((BUNDLED_MODEL / "config.json").read_text())
    config["shirg_x"]["budget"] = 1024
    (tmp_path / "config.json").write_text(json.dumps(config))
    session = measure_budgets.load(str(tmp_path), None)
    assert session.handle is not None
    assert session.handle.config.budget == "auto"
    config["shirg_x"]["mode"] = "stock"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="mode: stock"):
        measure_budgets.load(str(tmp_path), None)


def test_the_command_prints_every_kind_and_draws_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert measure_budgets.main(["--pages", "4", "--plot", str(tmp_path / "budgets.png")]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(summary) == {*FAMILIES, "all"}
    assert summary["all"]["pages"] == 4 * len(FAMILIES)
    assert sum(summary["all"]["share"].values()) == pytest.approx(1)
    assert (tmp_path / "budgets.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["nowhere"], "nowhere"), (["--pages", "3"], "--pages must be at least 4"), (["--adapter", "none"], "none")],
)
def test_what_cannot_be_measured_is_said(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert measure_budgets.main(arguments) == 2
    assert words in capsys.readouterr().err
