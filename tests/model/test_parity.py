"""The model is LaViDa: recorded outputs of the public code, reproduced through a checkpoint in the released format."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from llava.conversation import conv_templates
from llava.mm_utils import get_anyres_image_grid_shape, parse_pinpoints, process_images, select_best_resolution
from llava.model.anyres import unpad_image
from llava.model.builder import load_pretrained_model
from llava.model.language_model.diffusion.schedule import num_transfer_tokens
from llava.model.language_model.rotary import apply_rotary
from llava.train.losses.objective import masked_diffusion_loss

sys.path.insert(0, str(Path(__file__).parent.parent / "fixtures" / "parity"))
from fill import block_image

MASK_ID = 500
FEATURES = {"atol": 1e-4, "rtol": 0.0}


def golden_image(goldens: dict[str, Any], case: int) -> Image.Image:
    entry = goldens["preprocess"][case]
    return block_image(*entry["size"], entry["image_seed"])


def views_of(goldens, loaded, case: int) -> tuple[torch.Tensor, tuple[int, int]]:
    _, model, processor, _ = loaded
    image = golden_image(goldens, case)
    return process_images([image], processor, model.config)[0], image.size


def test_state_dict_has_the_released_keys_and_shapes(goldens, loaded):
    found = {key: list(tensor.shape) for key, tensor in loaded[1].state_dict().items()}
    assert found == goldens["state_dict"]


@pytest.mark.parametrize("case", range(9))
def test_preprocessing(goldens, golden_arrays, loaded, case):
    entry = goldens["preprocess"][case]
    views, size = views_of(goldens, loaded, case)
    assert list(views.shape) == entry["shape"]
    positions = np.random.RandomState(case).randint(0, views.numel(), 256)
    assert_close(views.flatten()[positions], torch.from_numpy(golden_arrays[f"pre_{case}"]), **FEATURES)
    assert views.mean().item() == pytest.approx(entry["mean"], abs=1e-5)
    assert views.std().item() == pytest.approx(entry["std"], abs=1e-5)
    pinpoints = loaded[1].config.image_grid_pinpoints
    assert list(select_best_resolution(size, parse_pinpoints(pinpoints))) == entry["best"]
    assert list(get_anyres_image_grid_shape(size, pinpoints, 384)) == entry["grid"]


@pytest.mark.parametrize("index", range(3))
@torch.no_grad()
def test_features_splice_logits_and_cache(goldens, golden_arrays, loaded, index):
    model, entry = loaded[1], goldens["splice"][index]
    case = entry["case"]
    views, size = views_of(goldens, loaded, case)

    def golden(name: str) -> torch.Tensor:
        return torch.from_numpy(golden_arrays[f"{name}_{case}"])

    tower = model.get_vision_tower()(views)
    assert list(tower.shape) == entry["tower"]
    assert_close(tower[:, ::61], golden("tower"), **FEATURES)
    assert_close(model.model.mm_projector(tower)[:, ::61], golden("proj"), **FEATURES)
    prompt = model.prepare_inputs(torch.tensor(goldens["input_ids"]), images=[views], image_sizes=[size])
    assert list(prompt.embeds.shape) == entry["embeds"]
    assert_close(prompt.embeds[0, ::7], golden("embeds"), **FEATURES)
    assert_close(model(inputs_embeds=prompt.embeds).logits[0, ::97], golden("logits"), **FEATURES)

    cache = model.model.prefill(prompt.embeds, prompt.lengths, num_answer=3)
    keys, values = (states[0, :, ::97] for states in cache.prefix(-1))
    positions = torch.arange(0, prompt.lengths[0], 97)[None]
    assert_close(keys, apply_rotary(golden("cache_k"), model.model.rotary(positions))[0], **FEATURES)
    assert_close(values, golden("cache_v"), **FEATURES)


@pytest.mark.parametrize("index", range(72))
def test_generation(goldens, loaded, index):
    entry = goldens["generate"][index]
    arguments = dict(entry["args"], mask_id=MASK_ID, verbose=True)
    if entry["source"] == "image":
        views, size = views_of(goldens, loaded, 0)
        ids = torch.tensor(goldens["input_ids"])
        tokens, history = loaded[1].generate(ids, [views], [size], **arguments)
    else:
        tokens, history = loaded[1].generate(torch.tensor(goldens["text_ids"]), **arguments)
    assert tokens[0].tolist() == entry["tokens"]
    assert len(history) == entry["steps"]
    settled = torch.stack(history)[:, 0] != MASK_ID
    unmasked_at = torch.where(settled.any(0), settled.int().argmax(0), -1)
    assert unmasked_at.tolist() == entry["unmasked_at"]


def test_infilling(goldens, loaded):
    draft = torch.tensor([goldens["infill"]["draft"]])
    tokens = loaded[1].generate(
        torch.tensor(goldens["text_ids"]), draft_tokens=draft, mask_id=MASK_ID, max_new_tokens=32, prefix_lm=True
    )
    assert tokens[0].tolist() == goldens["infill"]["tokens"]


def test_schedules(goldens):
    for entry in goldens["transfer"]:
        plan = num_transfer_tokens([entry["masked"]], entry["steps"], entry["schedule"], entry["kwargs"])[0].tolist()
        recorded = entry["counts"]
        assert plan == recorded + [0] * (len(plan) - len(recorded)), entry


def test_unpadding(goldens):
    for entry in goldens["unpad"]:
        assert list(unpad_image(torch.zeros(1, *entry["grid"]), tuple(entry["original"])).shape[1:]) == entry["out"]


@pytest.fixture(scope="module")
def train_loaded(tiny_train_checkpoint):
    return load_pretrained_model(tiny_train_checkpoint, device_map="cpu", torch_dtype="float32")


@pytest.mark.parametrize("index", range(2))
def test_training_loss_and_gradients(goldens, train_loaded, index):
    model, entry = train_loaded[1], goldens["train"][index]
    views, size = views_of(goldens, train_loaded, entry["case"])
    batch = model.prepare_inputs(
        torch.tensor(entry["input_ids"]), images=[views], image_sizes=[size], labels=torch.tensor(entry["labels"])
    )
    assert batch.lengths == (entry["embeds_len"],)
    noise = np.random.RandomState(entry["noise_seed"]).rand(1, entry["embeds_len"])
    result = masked_diffusion_loss(model, batch, torch.from_numpy(noise < entry["noise_p"]))
    assert result.num_masked.tolist() == entry["masked"]
    assert result.loss.item() == pytest.approx(entry["loss"], rel=1e-4)
    model.zero_grad()
    result.loss.backward()
    projector, embedding = model.model.mm_projector[0].weight, model.get_input_embeddings().weight
    assert projector.grad.norm().item() == pytest.approx(entry["grad_norm_projector0"], rel=1e-3)
    assert embedding.grad.norm().item() == pytest.approx(entry["grad_norm_wte"], rel=1e-3)


def test_prompt_template(goldens):
    conversation = conv_templates["llada"].copy()
    conversation.append_message("user", f"<image>\n{goldens['prompt']['question']}")
    conversation.append_message("assistant", None)
    assert conversation.get_prompt() == goldens["prompt"]["text"]
    assert not conv_templates["llada"].messages


def test_built_in_template_is_the_tokenizer_s(goldens, loaded):
    messages = [
        {"role": "system", "content": conv_templates["llada"].system},
        {"role": "user", "content": f"<image>\n{goldens['prompt']['question']}"},
    ]
    rendered = loaded[0].apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert rendered == goldens["prompt"]["text"]
