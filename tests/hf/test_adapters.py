"""peft's way to adapters and ours agree: the same LoRA, the same logits."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForImageTextToText, AutoProcessor

from llava.tuning.adapter import load_adapter, save_adapter
from llava.tuning.config import TrainableConfig
from llava.tuning.peft_format import export_peft
from tests.adapter_helpers import LEARNED, fresh, train
from tests.hf_helpers import FEW, inputs


def load(directory: Path):
    return AutoModelForImageTextToText.from_pretrained(directory)


@torch.no_grad()
def logits(processor, model) -> torch.Tensor:
    processor.follow(model)
    return model(**inputs(processor)).logits


@pytest.fixture
def processor(tiny_checkpoint: Path):
    return AutoProcessor.from_pretrained(tiny_checkpoint)


def test_an_exported_adapter_gives_the_logits_of_the_run(tiny_checkpoint, expanded, processor, tmp_path) -> None:
    directory, expected = expanded
    export_peft(directory, tmp_path / "peft")
    model = load(tiny_checkpoint)
    handle = model.apply_shirg_x(weights=tmp_path / "peft")
    assert handle.config == LEARNED
    untrained = logits(processor, model)
    adapted = PeftModel.from_pretrained(model, tmp_path / "peft")
    processor.follow(model)
    asked = inputs(processor)
    with torch.no_grad():
        found = adapted(**asked).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(found, untrained, atol=1e-3)
    ours = load(tiny_checkpoint)
    load_adapter(ours, directory)
    assert torch.equal(logits(processor, ours), expected)
    merged = load(tiny_checkpoint)
    load_adapter(merged, directory, merge=True)
    answer = merged.generate(**asked, **FEW)
    assert torch.equal(adapted.generate(**asked, **FEW).sequences, answer.sequences)
    whole = adapted.merge_and_unload()
    torch.testing.assert_close(logits(processor, whole), expected, atol=1e-4, rtol=1e-4)


def test_an_adapter_of_pefts_own_comes_back(tiny_checkpoint, stock, tmp_path) -> None:
    processor, base = stock
    settings = LoraConfig(r=3, target_modules=["q_proj", "v_proj", "mm_projector.0"])
    adapted = get_peft_model(load(tiny_checkpoint), settings)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    adapted.save_pretrained(tmp_path)
    asked = inputs(processor)
    again = PeftModel.from_pretrained(load(tiny_checkpoint), tmp_path)
    with torch.no_grad():
        expected = adapted.eval()(**asked).logits
        torch.testing.assert_close(again(**asked).logits, expected, atol=1e-4, rtol=1e-4)
        with again.disable_adapter():
            assert torch.equal(again(**asked).logits, base(**asked).logits)
        assert not torch.allclose(expected, base(**asked).logits, atol=1e-2)
        auto = AutoModelForImageTextToText.from_pretrained(tmp_path)
        torch.testing.assert_close(auto(**asked).logits, expected, atol=1e-4, rtol=1e-4)


def test_an_adapter_without_lora_is_refused(tiny_checkpoint, tmp_path) -> None:
    loaded, config = fresh(tiny_checkpoint), TrainableConfig(scope="projector")
    train(loaded[1], config)
    save_adapter(loaded[1], tmp_path / "adapter", config)
    with pytest.raises(ValueError, match="has no LoRA"):
        export_peft(tmp_path / "adapter", tmp_path / "peft")
    assert not (tmp_path / "peft").exists()
