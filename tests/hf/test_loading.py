"""Auto classes load what ``load_pretrained_model`` loads, with the same checks, and run no code of a checkpoint."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from lavida_shirg_integration import apply_shirg_x
from llava.hf import LavidaProcessor, LlavaLladaForConditionalGeneration, register
from llava.hf.modeling import MODELS
from llava.model.builder import load_pretrained_model
from llava.model.language_model.llava_llada import LlavaLladaConfig
from llava.model.language_model.registry import BACKBONES
from shirg.config import ShirgXConfig
from tests.cli_helpers import copy_checkpoint, edit_config, edit_tensors
from tests.hf_helpers import QUESTION, inputs, user
from tests.integration_helpers import IMAGES, SMALL, ask, views_and_sizes
from tests.train_helpers import ROOT


def test_every_backbone_has_a_model() -> None:
    assert set(MODELS) == set(BACKBONES)
    for model_type, kind in MODELS.items():
        assert kind.config_class.model_type == model_type
        assert issubclass(kind, BACKBONES[model_type].resolve())
        assert AutoModelForImageTextToText._model_mapping[kind.config_class] is kind


def test_auto_classes_give_lavida(tiny_checkpoint: Path, stock) -> None:
    processor, model = stock
    assert type(AutoConfig.from_pretrained(tiny_checkpoint)) is LlavaLladaConfig
    assert type(processor) is LavidaProcessor
    assert type(model) is LlavaLladaForConditionalGeneration
    assert model.shirg_x_handle is None
    assert not model.training


def test_logits_are_those_of_the_model_without_transformers_interface(stock, loaded) -> None:
    processor, model = stock
    plain = loaded[1]
    asked = inputs(processor, [user(QUESTION, IMAGES[0])])
    views, sizes = views_and_sizes(loaded, plain, IMAGES[:1])
    expected = plain(ask(loaded, QUESTION)[None], images=views, image_sizes=sizes).logits
    assert torch.equal(asked["input_ids"][0], ask(loaded, QUESTION))
    with torch.no_grad():
        assert torch.equal(model(**asked).logits, expected)
        assert torch.equal(model(**asked, return_dict=False)[0], expected)


def test_settings_in_the_config_apply_shirg_x(quick: Path, chosen) -> None:
    processor, model = chosen
    _, plain, siglip, _ = loaded = load_pretrained_model(quick, device_map="cpu")
    with apply_shirg_x(plain) as handle:
        views, sizes = views_and_sizes((None, plain, siglip), plain, IMAGES[:1])
        expected = plain(ask(loaded, QUESTION)[None], images=views, image_sizes=sizes).logits
        assert model.shirg_x_handle.config == handle.config
    with torch.no_grad():
        assert torch.equal(model(**inputs(processor)).logits, expected)


def test_other_settings_of_shirg_x_are_options(quick: Path, stock) -> None:
    settings = ShirgXConfig(similarity="attention", budget=32, budgets=(32,)).for_grid(12).to_dict()
    for options, patched in (({"shirg_x": {"mode": "stock"}}, False), ({"shirg_x": settings}, True)):
        processor = AutoProcessor.from_pretrained(quick, **options)
        model = AutoModelForImageTextToText.from_pretrained(quick, **options)
        assert (model.shirg_x_handle is not None) == patched
        asked = inputs(processor)
        positions = model(**asked).logits.shape[1]
        if patched:
            scaffold = model.shirg_x_handle.config.scaffold_tokens
            assert positions == asked["input_ids"].shape[1] - 1 + scaffold + model.shirg_x_handle.config.budget
        else:
            assert positions == stock[1](**inputs(stock[0])).logits.shape[1]


def test_a_processor_follows_its_model(tiny_checkpoint: Path, stock) -> None:
    processor = AutoProcessor.from_pretrained(tiny_checkpoint)
    model = AutoModelForImageTextToText.from_pretrained(tiny_checkpoint)
    before = inputs(processor)
    handle = model.apply_shirg_x(SMALL)
    with pytest.raises(ValueError, match=r"call processor.follow\(model\)"):
        model.generate(**before)
    processor.follow(model)
    assert inputs(processor)["pixel_values"].shape[1] == 1
    model.generate(**inputs(processor), max_new_tokens=4)
    handle.remove()
    processor.follow(model)
    assert torch.equal(inputs(processor)["pixel_values"], before["pixel_values"])
    with torch.no_grad():
        assert torch.equal(model(**before).logits, stock[1](**before).logits)


def test_code_of_a_checkpoint_never_runs(tiny_checkpoint: Path, tmp_path: Path) -> None:
    directory = copy_checkpoint(tiny_checkpoint, tmp_path / "copy")
    (directory / "evil.py").write_text("raise SystemExit('code of the checkpoint ran')")
    kinds = ("AutoConfig", "AutoModelForImageTextToText", "AutoModelForCausalLM", "AutoProcessor")
    edit_config(directory, auto_map=dict.fromkeys(kinds, "evil.Evil"))
    for trust in (None, False, True):
        options = {} if trust is None else {"trust_remote_code": trust}
        assert type(AutoConfig.from_pretrained(directory, **options)) is LlavaLladaConfig
        assert type(AutoProcessor.from_pretrained(directory, **options)) is LavidaProcessor
    model = AutoModelForImageTextToText.from_pretrained(directory, trust_remote_code=True)
    assert type(model) is LlavaLladaForConditionalGeneration


def test_tensors_that_do_not_fit_are_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    directory = copy_checkpoint(tiny_checkpoint, tmp_path / "copy")
    edit_tensors(directory, lambda tensors: tensors.pop("model.mm_projector.0.weight"))
    with pytest.raises(ValueError, match=r"1 missing \(model.mm_projector.0.weight\)"):
        AutoModelForImageTextToText.from_pretrained(directory)


def test_a_precision_and_a_loading_report_can_be_asked_for(tiny_checkpoint: Path) -> None:
    load = LlavaLladaForConditionalGeneration.from_pretrained
    model, info = load(tiny_checkpoint, dtype="bfloat16", output_loading_info=True)
    assert model.dtype == torch.bfloat16
    assert not info["missing_keys"]
    with pytest.raises(FileNotFoundError, match="no directory"):
        load("./nowhere")


def test_importing_llava_makes_it_known_to_transformers(tiny_checkpoint: Path) -> None:
    show = (
        "import sys, llava; from transformers import AutoModelForImageTextToText, AutoProcessor; "
        f"p = AutoProcessor.from_pretrained({str(tiny_checkpoint)!r}); print(type(p).__name__); "
        "known = AutoModelForImageTextToText._model_mapping.values(); "
        "print(*(kind.__name__ for kind in known if 'Llada' in str(kind))); "
        "print(*(name for name in sys.modules if name.startswith(('llava.eval', 'llava.train', 'llava.server'))))"
    )
    run = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.split() == ["LavidaProcessor", "LlavaLladaForConditionalGeneration"]


def test_registering_again_changes_nothing(tiny_checkpoint: Path) -> None:
    register()
    assert type(AutoConfig.from_pretrained(tiny_checkpoint)) is LlavaLladaConfig


def test_what_is_saved_loads_again(chosen, tmp_path: Path) -> None:
    processor, model = chosen
    model.save_pretrained(tmp_path / "saved")
    processor.save_pretrained(tmp_path / "saved")
    again = AutoModelForImageTextToText.from_pretrained(tmp_path / "saved")
    asked = inputs(AutoProcessor.from_pretrained(tmp_path / "saved"))
    assert again.shirg_x_handle.config == model.shirg_x_handle.config
    with torch.no_grad():
        assert torch.equal(again(**asked).logits, model(**inputs(processor)).logits)
    card = (tmp_path / "saved" / "README.md").read_text()
    assert "Nothing was measured" in card
    assert "shirg-x" in card
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["model_type"] == "llava_llada"
