"""Adapters that are spoiled, or do not belong where they are put: refused, and nothing is changed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import shirg.weights as shirg_weights
from lavida_shirg_integration import apply_shirg_x
from llava.tuning.adapter import (
    SETTINGS_FILE,
    WEIGHTS_FILE,
    load_adapter,
    merge_adapter,
    save_adapter,
)
from llava.tuning.config import TrainableConfig
from llava.tuning.parameters import prepare_trainable
from tests.adapter_helpers import edit_settings, edit_weights, fresh
from tests.integration_helpers import SMALL

NAME = "model.mm_projector.0.lora_A.weight"
REFUSED: dict[str, tuple[Callable[[Path], object], type[Exception], str]] = {
    "version": (
        lambda path: edit_settings(path, lambda values: values.update(format_version=2)),
        ValueError,
        "format version 2, but this code reads 1",
    ),
    "no version": (
        lambda path: edit_settings(path, lambda values: values.pop("format_version")),
        ValueError,
        "not the settings",
    ),
    "no base": (lambda path: edit_settings(path, lambda values: values.pop("base")), ValueError, "lacks settings"),
    "base of another kind": (
        lambda path: edit_settings(path, lambda values: values.update(base={"name": 3})),
        ValueError,
        "lacks settings",
    ),
    "unknown setting": (
        lambda path: edit_settings(path, lambda values: values["trainable"].update(ranks=3)),
        ValueError,
        "did you mean 'rank'",
    ),
    "broken json": (lambda path: (path / SETTINGS_FILE).write_text("{"), ValueError, "not the settings"),
    "json list": (lambda path: (path / SETTINGS_FILE).write_text("[]"), ValueError, "not the settings"),
    "binary json": (lambda path: (path / SETTINGS_FILE).write_bytes(b"\xff\xfe\x00"), ValueError, "not the settings"),
    "missing tensor": (
        lambda path: edit_weights(path, lambda tensors: tensors.pop(NAME)),
        ValueError,
        rf"1 missing \({NAME}\)",
    ),
    "extra tensor": (
        lambda path: edit_weights(path, lambda tensors: tensors.update(more=torch.zeros(3))),
        ValueError,
        r"1 unexpected \(more\)",
    ),
    "wrong shape": (
        lambda path: edit_weights(path, lambda tensors: tensors.update({NAME: torch.zeros(3, 7)})),
        ValueError,
        rf"1 of another shape \({NAME}\)",
    ),
    "rank of another run": (
        lambda path: edit_settings(path, lambda values: values["trainable"].update(rank=4)),
        ValueError,
        r"of another shape",
    ),
    "missing shirg tensor": (
        lambda path: edit_weights(
            path, lambda tensors: tensors.pop("coordinates.coord_out.bias"), shirg_weights.WEIGHTS_FILE
        ),
        ValueError,
        "coord_out.bias",
    ),
    "no shirg weights": (
        lambda path: (path / shirg_weights.WEIGHTS_FILE).unlink(),
        FileNotFoundError,
        "no SHIRG-X weights",
    ),
    "broken weights": (
        lambda path: (path / WEIGHTS_FILE).write_bytes(b"\x80\x04K"),
        ValueError,
        "not a valid safetens",
    ),
    "pickle instead": (
        lambda path: (path / WEIGHTS_FILE).rename(path / "adapter_model.bin"),
        FileNotFoundError,
        "adapter_model.bin is a pickle and is never read",
    ),
    "no settings": (lambda path: (path / SETTINGS_FILE).unlink(), FileNotFoundError, "holds no adapter.json"),
    "peft's": (
        lambda path: (path / SETTINGS_FILE).rename(path / "adapter_config.json"),
        FileNotFoundError,
        "peft's own format",
    ),
    "no directory": (shutil.rmtree, FileNotFoundError, "there is no adapter directory"),
    "a file": (lambda path: (shutil.rmtree(path), path.write_text("x")), ValueError, "is a file"),
}


@pytest.fixture(scope="module")
def reused(tiny_checkpoint):
    return fresh(tiny_checkpoint)[1]


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize(("spoil", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_spoiled_is_refused_and_the_model_stays_as_it_was(reused, copied, spoil, kind, message, merge):
    before = {name: tensor.clone() for name, tensor in reused.state_dict().items()}
    spoil(copied)
    with pytest.raises(kind, match=message) as error:
        load_adapter(reused, copied, merge=merge)
    assert "\n" not in str(error.value)
    after = reused.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


class TestRefusals:
    def test_everything_is_no_adapter(self, tiny_checkpoint, tmp_path):
        model, config = fresh(tiny_checkpoint)[1], TrainableConfig(scope="everything")
        prepare_trainable(model, config)
        with pytest.raises(ValueError, match="save_pretrained"):
            save_adapter(model, tmp_path, config)

    @pytest.mark.parametrize("prepared", [None, {"rank": 5}, {"scope": "shirg_x_expanded"}])
    def test_a_model_that_was_prepared_otherwise_is_not_saved(self, tiny_checkpoint, tmp_path, prepared):
        model = fresh(tiny_checkpoint)[1]
        apply_shirg_x(model, SMALL, weights=False)
        if prepared is not None:
            prepare_trainable(model, TrainableConfig(**prepared))
        with pytest.raises(ValueError, match="the model's tensors do not fit"):
            save_adapter(model, tmp_path / "out", TrainableConfig())
        assert not (tmp_path / "out").exists()

    def test_an_adapter_is_not_put_on_another(self, tiny_checkpoint, expanded):
        model = fresh(tiny_checkpoint)[1]
        handle = load_adapter(model, expanded[0])
        with pytest.raises(RuntimeError, match="merge_adapter"):
            load_adapter(model, expanded[0])
        merge_adapter(model)
        handle.remove()
        with pytest.raises(ValueError, match="other weights"):
            load_adapter(model, expanded[0])

    def test_nothing_to_merge_is_no_error(self, tiny_checkpoint):
        assert merge_adapter(fresh(tiny_checkpoint)[1]) == 0
