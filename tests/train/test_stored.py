"""Runs on pages that a tower has seen before: the losses of drawn pages, and refusals of what does not fit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lavida_shirg_integration import apply_shirg_x
from llava.data.feature_store import StoredPages
from llava.model.builder import load_pretrained_model
from llava.train.config import TrainConfig
from llava.train.create import build_tokenizer, create_model, drawn_views, page_texts
from llava.train.stored import encode_stored
from llava.train.train import prepare_run
from scripts.store_pages import main as store
from shirg.config import ShirgXConfig
from tests.train_helpers import SHIRG, SIZES, logged, make_checkpoint, settings, write_config

PAGES = {"families": ["entity_grid"], "style": "shapes", "questions": 2, "pages": 7}
FROZEN: dict[str, Any] = {
    "trainable": {"scope": "everything", "groups": ["projector", "language", "coordinates"]},
    "losses": {"alignment": 0.5, "grounding": 0.5, "budget": 0},
    "answers": "spelled",
    "trainer": {"max_steps": 3, "per_device_train_batch_size": 2},
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("fresh") / "model")


def config_of(checkpoint: Path, out: Path, **changes: Any) -> dict[str, Any]:
    return settings(checkpoint, out, **{**FROZEN, "pages": {**PAGES, "stored": str(out.parent / "pages")}, **changes})


@pytest.fixture(scope="module")
def stored(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The settings of a run whose pages are stored."""
    folder = tmp_path_factory.mktemp("stored")
    path = write_config(folder, config_of(checkpoint, folder / "run"))
    assert store([str(path), "--pages", "3", "--questions", "2"]) == 0
    assert store([str(path), "--pages", "7", "--questions", "2"]) == 0
    return path


def test_stored_pages_train_as_drawn_ones_do(checkpoint, stored, tmp_path):
    prepare_run(TrainConfig.from_yaml(stored)).train()
    prepare_run(TrainConfig.from_dict(config_of(checkpoint, tmp_path / "drawn", pages=PAGES))).train()
    found, wanted = logged(stored.parent / "run"), logged(tmp_path / "drawn")
    assert len(found) == len(wanted) == 3
    for one, other in zip(found, wanted, strict=True):
        assert one.keys() == other.keys()
        assert {"loss_denoising", "loss_alignment", "loss_grounding"} <= one.keys()
        for name in one:
            # The tower's output was rounded to bfloat16.
            assert one[name] == pytest.approx(other[name], rel=0.03), name


def test_what_is_stored_is_what_the_tower_sees(checkpoint, stored):
    pages = StoredPages(stored.parent / "pages")
    _, model, _, _ = load_pretrained_model(str(checkpoint), device_map="cpu")
    assert len(pages) == 7
    assert pages[5][0].patches.shape == (144, SIZES.width)
    assert pages[5][0].patches.dtype == torch.bfloat16
    drawn = prepare_run(TrainConfig.from_dict(config_of(checkpoint, stored.parent / "x", pages=PAGES))).trainer
    view = drawn.train_dataset[5][0].views[0]
    with torch.no_grad():
        seen = model.get_vision_tower()(view)[0]
    torch.testing.assert_close(pages[5][0].patches.float(), seen.float(), rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"answers": "tokens"}, "answers is 'spelled', not 'tokens'"),
        ({"answer_block": 4}, "answer_block is 8, not 4"),
        ({"shirg_x": {"grid": 24, "budgets": [11, 13, 17], "similarity": "projected"}}, "grid is 12, not 24"),
    ],
)
def test_pages_of_another_making_are_refused(checkpoint, stored, changes, words):
    values = config_of(checkpoint, stored.parent / "other", **changes)
    with pytest.raises(ValueError, match=words):
        prepare_run(TrainConfig.from_dict(values))


def test_another_tower_is_refused(stored, tmp_path):
    tokenizer = build_tokenizer(page_texts(("entity_grid",), ("shapes",), 20), SIZES.vocabulary)
    other = create_model(replace(SIZES, seed=5), tokenizer, drawn_views(168, "shapes", 2))
    other.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="tower is"):
        prepare_run(TrainConfig.from_dict(config_of(tmp_path, stored.parent / "other")))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trainable": {"scope": "everything"}}, "no tower, so tower cannot train"),
        ({"trainable": {"scope": "everything", "groups": ["language", "budget_head"]}}, "budget_head cannot train"),
        ({"losses": {"reading": 1.0, "budget": 0}}, "reading runs the tower"),
        ({"losses": {"budget": 0.1}}, "budget runs the tower"),
        ({"shirg_x": None, "losses": {}}, "give shirg_x"),
    ],
)
def test_what_needs_the_tower_is_refused(tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        TrainConfig.from_dict(config_of(tmp_path, tmp_path / "run", **changes))


def test_settings_without_a_folder_and_folders_without_pages_are_named(checkpoint, tmp_path, capsys):
    path = write_config(tmp_path, config_of(checkpoint, tmp_path / "run", pages=PAGES))
    assert store([str(path), "--pages", "2"]) == 2
    assert "pages.stored" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="store_pages"):
        prepare_run(TrainConfig.from_dict(config_of(checkpoint, tmp_path / "empty" / "run")))


def test_a_configuration_that_needs_more_than_patches_is_refused(checkpoint):
    _, model, _, _ = load_pretrained_model(str(checkpoint), device_map="cpu")
    padded = ShirgXConfig.from_dict({**SHIRG, "resize": "pad"})
    with apply_shirg_x(model, padded) as handle, pytest.raises(ValueError, match="resize: stretch"):
        encode_stored(handle, torch.zeros(1, 144, SIZES.width), torch.ones(1, 144, dtype=torch.bool), budget=11)
