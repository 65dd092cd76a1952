"""Adapters: saved and loaded bit for bit, merged within rounding, and refused where they do not belong."""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import shirg.weights as shirg_weights
from lavida_shirg_integration import apply_shirg_x
from llava.model.builder import load_pretrained_model
from llava.tuning.adapter import (
    SETTINGS_FILE,
    WEIGHTS_FILE,
    AdapterSettings,
    load_adapter,
    load_adapter_weights,
    merge_adapter,
    save_adapter,
)
from llava.tuning.config import TrainableConfig
from llava.tuning.parameters import lora_layers
from tests.adapter_helpers import ALPHA, LEARNED, RANK, fresh, logits, train
from tests.cli_helpers import copy_checkpoint, edit_config, edit_tensors
from tests.integration_helpers import SMALL


@pytest.mark.parametrize(
    ("trainable", "shirg"),
    [
        ({}, LEARNED),
        ({"coord": "full", "projector_layers": ["mm_projector.fc2"], "rank": 5}, SMALL),
        ({"scope": "shirg_x_expanded", "rank": RANK, "alpha_per_rank": ALPHA}, SMALL),
        ({}, SMALL.replace(coordinates=False)),
        ({"scope": "projector"}, SMALL),
        ({"scope": "projector"}, None),
    ],
    ids=lambda value: str(value)[:40],
)
class TestRoundTrip:
    def test_loaded_gives_the_same_logits_bit_for_bit(self, tiny_checkpoint, tmp_path, trainable, shirg):
        config = TrainableConfig(**trainable)
        loaded = fresh(tiny_checkpoint)
        untouched = logits(loaded, loaded[1])
        train(loaded[1], config, shirg)
        expected = logits(loaded, loaded[1])
        save_adapter(loaded[1], tmp_path, config)
        again = fresh(tiny_checkpoint)
        handle = load_adapter(again[1], tmp_path)
        assert torch.equal(logits(again, again[1]), expected)
        assert expected.shape != untouched.shape or not torch.equal(expected, untouched)
        assert (handle is None) == (shirg is None)
        trains = {name for name, parameter in again[1].named_parameters() if parameter.requires_grad}
        assert trains == {name for name, parameter in loaded[1].named_parameters() if parameter.requires_grad}
        settings = AdapterSettings.read(tmp_path)
        assert settings.trainable == config
        assert settings.shirg_x == shirg

    def test_merged_is_the_same_within_rounding(self, tiny_checkpoint, tmp_path, monkeypatch, trainable, shirg):
        config = TrainableConfig(**trainable)
        loaded = fresh(tiny_checkpoint)
        train(loaded[1], config, shirg)
        expected = logits(loaded, loaded[1])
        save_adapter(loaded[1], tmp_path, config)
        monkeypatch.setitem(sys.modules, "peft", None)
        again = fresh(tiny_checkpoint)
        load_adapter(again[1], tmp_path, merge=True)
        assert not lora_layers(again[1])
        torch.testing.assert_close(logits(again, again[1]), expected, atol=1e-4, rtol=1e-4)
        assert merge_adapter(loaded[1]) == sum(
            name.endswith("lora_A.weight") for name in load_file(tmp_path / WEIGHTS_FILE)
        )
        torch.testing.assert_close(loaded[1].state_dict(), again[1].state_dict())
        assert not hasattr(loaded[1], "peft_config")


def test_merging_is_the_product_written_slowly(tiny_checkpoint, expanded):
    base, merged = fresh(tiny_checkpoint)[1], fresh(tiny_checkpoint)[1]
    load_adapter(merged, expanded[0], merge=True)
    tensors = load_file(expanded[0] / WEIGHTS_FILE)
    name = "model.transformer.blocks.1.k_proj"
    first, second = tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"]
    before, after = base.state_dict()[f"{name}.weight"], merged.state_dict()[f"{name}.weight"]
    for row, column in ((0, 0), (11, 37), (63, 5)):
        change = sum(float(second[row, rank]) * float(first[rank, column]) for rank in range(6))
        assert float(after[row, column]) == pytest.approx(float(before[row, column]) + 2.0 * change, rel=1e-5)


def test_what_is_merged_is_a_full_checkpoint_that_needs_no_peft(tiny_checkpoint, tmp_path, expanded, monkeypatch):
    loaded = fresh(tiny_checkpoint)
    load_adapter(loaded[1], expanded[0])
    merge_adapter(loaded[1])
    before = logits(loaded, loaded[1])
    loaded[1].save_pretrained(tmp_path / "full")
    loaded[0].save_pretrained(tmp_path / "full")
    monkeypatch.setitem(sys.modules, "peft", None)
    again = fresh(tmp_path / "full")
    assert again[1].state_dict().keys() == fresh(tiny_checkpoint)[1].state_dict().keys()
    handle = apply_shirg_x(again[1])
    assert handle.config == LEARNED
    assert torch.equal(logits(again, again[1]), before)
    torch.testing.assert_close(before, expanded[1], atol=1e-4, rtol=1e-4)


def test_removing_shirg_x_leaves_what_was_merged(tiny_checkpoint, expanded):
    loaded = fresh(tiny_checkpoint)
    before = loaded[1].model.mm_projector[0].weight.clone()
    handle = load_adapter(loaded[1], expanded[0], merge=True)
    merged = loaded[1].model.mm_projector[0].weight.clone()
    handle.remove()
    assert not hasattr(loaded[1], "shirg_x")
    assert torch.equal(loaded[1].model.mm_projector[0].weight, merged)
    assert not torch.equal(merged, before)


def test_only_safetensors_and_json_are_written_and_the_base_is_left_out(expanded):
    files = {path.name for path in expanded[0].iterdir()}
    assert files == {WEIGHTS_FILE, SETTINGS_FILE, shirg_weights.WEIGHTS_FILE, shirg_weights.SETTINGS_FILE}
    names = load_file(expanded[0] / WEIGHTS_FILE).keys()
    assert len(names) == 2 * (2 + 1 + 2 * 4)
    assert all(".lora_A.weight" in name or ".lora_B.weight" in name for name in names)
    values = json.loads((expanded[0] / SETTINGS_FILE).read_text())
    assert set(values) == {"format_version", "base", "trainable", "shirg_x"}


def test_a_bfloat16_base_keeps_float32_training_weights(tiny_checkpoint, tmp_path):
    loaded, config = fresh(tiny_checkpoint, "bfloat16"), TrainableConfig()
    train(loaded[1], config)
    save_adapter(loaded[1], tmp_path, config)
    again = fresh(tiny_checkpoint, "bfloat16")
    load_adapter(again[1], tmp_path)
    saved, read = loaded[1].state_dict(), again[1].state_dict()
    assert saved["shirg_x.coordinates.coord_out.weight"].dtype == torch.float32
    assert all(torch.equal(saved[name], read[name]) and saved[name].dtype == read[name].dtype for name in saved)
    other = fresh(tiny_checkpoint, "float32")
    load_adapter(other[1], tmp_path, merge=True)
    assert other[1].shirg_x.coordinates.coord_out.weight.dtype == torch.float32


def test_a_run_is_resumed_in_a_prepared_model(tiny_checkpoint, expanded):
    loaded, config = fresh(tiny_checkpoint), AdapterSettings.read(expanded[0]).trainable
    train(loaded[1], config)
    with torch.no_grad():
        loaded[1].model.mm_projector[0].lora_A["default"].weight.zero_()
    load_adapter_weights(loaded[1], expanded[0])
    assert torch.equal(logits(loaded, loaded[1]), expanded[1])
    other = fresh(tiny_checkpoint)
    train(other[1], TrainableConfig(scope="shirg_x_expanded", rank=3, coord_rank=2, alpha_per_rank=1.0))
    with pytest.raises(ValueError, match="alpha_per_rank"):
        load_adapter_weights(other[1], expanded[0])


def test_settings_can_be_overridden_when_loading(tiny_checkpoint, expanded):
    loaded = fresh(tiny_checkpoint)
    wanted = LEARNED.replace(similarity="projected", budget=SMALL.budgets[1], coordinates=False)
    handle = load_adapter(loaded[1], expanded[0], merge=True, shirg_x=wanted)
    assert handle.config == wanted
    other = fresh(tiny_checkpoint)
    with pytest.raises(ValueError, match="was trained with SHIRG-X"):
        load_adapter(other[1], expanded[0], merge=True, shirg_x=wanted.replace(mode="stock"))


def test_a_directory_that_was_cut_short_is_no_adapter(tiny_checkpoint, copied, monkeypatch):
    loaded, config = fresh(tiny_checkpoint), TrainableConfig()
    train(loaded[1], config)

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("llava.tuning.adapter.save_file", full)
    with pytest.raises(OSError, match="no space"):
        save_adapter(loaded[1], copied, config)
    with pytest.raises(FileNotFoundError, match=r"holds no adapter\.json"):
        AdapterSettings.read(copied)


def test_settings_for_users_may_differ_from_those_of_training(tiny_checkpoint, tmp_path):
    loaded, config = fresh(tiny_checkpoint), TrainableConfig()
    train(loaded[1], config)
    wanted = LEARNED.replace(budget="auto")
    save_adapter(loaded[1], tmp_path, config, shirg_x=wanted, base="somebody/lavida")
    handle = load_adapter(fresh(tiny_checkpoint)[1], tmp_path, merge=True)
    assert handle.config == wanted
    assert AdapterSettings.read(tmp_path).base.name == "somebody/lavida"
    assert json.loads((tmp_path / shirg_weights.SETTINGS_FILE).read_text())["config"] == wanted.to_dict()


@pytest.mark.parametrize("scope", ["shirg_x", "projector"])
def test_gathered_weights_are_saved_where_the_model_s_own_are_spread(tiny_checkpoint, tmp_path, scope):
    loaded, config = fresh(tiny_checkpoint), TrainableConfig(scope=scope)
    train(loaded[1], config)
    save_adapter(loaded[1], tmp_path / "whole", config)
    state = {name: tensor.clone() for name, tensor in loaded[1].state_dict().items()}
    # DeepSpeed gathers parameters by itself, past the hook that keeps the text tower out of state dicts.
    state["shirg_x.text_tower.embeddings.weight"] = torch.zeros(3, 7)
    for index, parameter in enumerate(loaded[1].parameters()):
        parameter.ds_id, parameter.ds_shape = index, parameter.shape
        parameter.data = torch.empty(0)
    with pytest.raises(ValueError, match="state_dict"):
        save_adapter(loaded[1], tmp_path / "spread", config)
    save_adapter(loaded[1], tmp_path / "gathered", config, state_dict=state)
    for name in (WEIGHTS_FILE, shirg_weights.WEIGHTS_FILE):
        found, expected = load_file(tmp_path / "gathered" / name), load_file(tmp_path / "whole" / name)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert AdapterSettings.read(tmp_path / "gathered").base == AdapterSettings.read(tmp_path / "whole").base


class TestBase:
    @pytest.fixture
    def other(self, tiny_checkpoint, tmp_path) -> Path:
        return copy_checkpoint(tiny_checkpoint, tmp_path / "other")

    def test_the_same_checkpoint_elsewhere_and_in_another_precision_fits(self, other, expanded):
        for dtype, layers in (("float32", True), ("bfloat16", False), ("float16", False)):
            model = load_pretrained_model(
                other, device_map="cpu", torch_dtype=dtype, vision_kwargs={"keep_all_layers": layers}
            )[1]
            load_adapter(model, expanded[0], merge=True)

    def test_other_weights_of_the_same_shapes_are_told(self, other, expanded):
        edit_tensors(other, lambda tensors: tensors["model.transformer.blocks.1.ff_out.weight"].mul_(1.25))
        with pytest.raises(
            ValueError, match=r"was trained on .*lavida-llada-tiny, which has other weights than .*other"
        ):
            load_adapter(fresh(other)[1], expanded[0])

    def test_another_size_is_told_before_anything_changes(self, other, expanded):
        edit_config(other, n_layers=1)
        edit_tensors(other, lambda tensors: [tensors.pop(name) for name in list(tensors) if ".blocks.1." in name])
        model = fresh(other)[1]
        with pytest.raises(ValueError, match="other names or sizes"):
            load_adapter(model, expanded[0], merge=True)
        assert not hasattr(model, "shirg_x")

    def test_a_projector_trained_in_full_says_nothing_about_the_base(self, tiny_checkpoint, tmp_path):
        config = TrainableConfig(scope="projector")
        loaded = fresh(tiny_checkpoint)
        train(loaded[1], config, None)
        save_adapter(loaded[1], tmp_path, config)
        train(again := fresh(tiny_checkpoint)[1], config, None)
        load_adapter_weights(again, tmp_path)
        torch.testing.assert_close(again.state_dict(), loaded[1].state_dict(), rtol=0, atol=0)
