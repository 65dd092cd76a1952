"""LaViDa around Dream is LaViDa's: recorded outputs of the public code, as in test_parity.

How the recordings were made is told in tests/fixtures/parity_dream/README.md.
"""

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from llava.conversation import conv_templates
from llava.mm_utils import process_images
from llava.model.language_model.diffusion import generate
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.model.language_model.diffusion.schedule import Plan, count_of
from llava.model.language_model.dream.llava_dream import LlavaDreamConfig, LlavaDreamForMaskedDiffusion
from llava.model.language_model.dream.settings import read_settings
from llava.train.losses.objective import mask_probability, masked_diffusion_loss
from tests.conftest import DREAM_PARITY
from tests.model.test_parity import FEATURES, golden_image

MASK_ID = 500
RECORDED = json.loads((DREAM_PARITY / "goldens.json").read_text())
IMAGE_CASES = (0, 3, 5)
NOT_ALONE = "rows compete for steps in the public code, so that no row is what it is alone"


@pytest.fixture(scope="session")
def arrays() -> dict[str, np.ndarray]:
    with np.load(DREAM_PARITY / "goldens.npz") as found:
        return dict(found)


def page_of(model: Any, processor: Any, case: int) -> tuple[torch.Tensor, tuple[int, int]]:
    entry = next(number for number, each in enumerate(RECORDED["preprocess"]) if each["case"] == case)
    image = golden_image(RECORDED, entry)
    return process_images([image], processor, model.config)[0], image.size


@pytest.fixture(scope="module")
def pages(dream_loaded) -> dict[int, tuple[torch.Tensor, tuple[int, int]]]:
    return {case: page_of(dream_loaded[1], dream_loaded[2], case) for case in IMAGE_CASES}


def test_state_dict_has_the_released_keys_and_shapes(dream_loaded):
    found = {key: list(tensor.shape) for key, tensor in dream_loaded[1].state_dict().items()}
    assert found == RECORDED["state_dict"]


def test_the_full_size_model_has_exactly_the_released_names_and_shapes():
    released = json.loads((DREAM_PARITY / "lavida_dream_7b_state_dict.json").read_text())
    vision = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16}
    with torch.device("meta"):
        model = LlavaDreamForMaskedDiffusion(
            LlavaDreamConfig(mm_vision_config={**vision, "image_size": 384, "patch_size": 14})
        )
    assert {key: list(tensor.shape) for key, tensor in model.state_dict().items()} == released


def test_preprocessing(arrays, pages):
    for entry in RECORDED["preprocess"]:
        views = pages[entry["case"]][0]
        assert list(views.shape) == entry["shape"]
        positions = np.random.RandomState(entry["case"]).randint(0, views.numel(), 256)
        assert_close(views.flatten()[positions], torch.from_numpy(arrays[f"pre_{entry['case']}"]), **FEATURES)


def shifted(logits: torch.Tensor) -> torch.Tensor:
    """The recorded shift, written out: row p holds the logits of p - 1, and row 0 its own."""
    return torch.cat([logits[:1], logits[:-1]])


@pytest.mark.parametrize("entry", RECORDED["splice"], ids=lambda entry: str(entry["case"]))
@torch.no_grad()
def test_features_splice_logits_and_cache(arrays, dream_loaded, pages, entry):
    model, case = dream_loaded[1], entry["case"]

    def golden(name: str) -> torch.Tensor:
        return torch.from_numpy(arrays[f"{name}_{case}"])

    if case == "text":
        step, ids = 1, torch.tensor(RECORDED["text_ids"])
        prompt = model.prepare_inputs(ids)
    else:
        step = 97
        views, size = pages[case]
        prompt = model.prepare_inputs(torch.tensor(RECORDED["input_ids"]), images=[views], image_sizes=[size])
        assert_close(prompt.embeds[0, :: 14 if case == 0 else 28], golden("embeds"), **FEATURES)
    if case == 0:
        tower = model.get_vision_tower()(pages[0][0])
        assert_close(tower[:, ::61], golden("tower"), **FEATURES)
        assert_close(model.model.mm_projector(tower)[:, ::61], golden("proj"), **FEATURES)
    assert list(prompt.embeds.shape) == entry["embeds"]
    language = model.model
    hidden = language(prompt.embeds)
    logits = model(inputs_embeds=prompt.embeds).logits[0]
    assert_close(logits[::step], golden("logits"), **FEATURES)
    read = language.compute_logits(language.reading(hidden, 0, hidden.shape[1]))[0]
    assert_close(read, shifted(logits))
    recorded = golden("shifted")
    assert_close(read[::step][: len(recorded)], recorded, **FEATURES)

    cache = language.prefill(prompt.embeds, prompt.lengths, num_answer=8)
    layers, batch, groups, length, width = entry["cache"]
    assert [len(cache.keys), *cache.prefix(-1)[0].shape] == [layers, batch, groups, length, width]
    keys, values = (states[0, :, ::step] for states in cache.prefix(-1))
    # The recording may hold (groups, positions, width) or the other way round.
    assert_close(keys, golden("cache_k"), **FEATURES)
    assert_close(values, golden("cache_v"), **FEATURES)
    first = language.compute_logits(cache.before)[0]
    assert int(first.argmax()) == entry["first_token"]
    block = torch.tensor([[entry["first_token"], *[MASK_ID] * 7]])
    inside = language.denoise(language.embed_tokens(block), cache, language.answer_rotary(cache, 8))
    assert_close(language.compute_logits(inside)[0, [0, 3]], golden("block"), **FEATURES)
    masks = language.embed_tokens(torch.full((1, 8), MASK_ID))
    whole = language(torch.cat([prompt.embeds, masks], dim=1))
    answer = language.reading(whole[:, length:], 0, 8, whole[:, length - 1])
    assert_close(language.compute_logits(answer)[0, [0, 3]], golden("answer"), **FEATURES)


def test_rotary(dream_loaded):
    frequencies = torch.tensor(RECORDED["rope"]["inv_freq"])
    cosines, _ = dream_loaded[1].model.rotary(torch.tensor([[1]]))
    assert_close(cosines[0, 0, 0], torch.cat([frequencies, frequencies]).cos(), **FEATURES)


class Stream:
    """The recorded noise: one stream, of which every step takes as many numbers as positions are open."""

    def __init__(self, seed: int) -> None:
        self.state = np.random.RandomState(seed)

    def __call__(self, masked: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        noise = torch.ones(masked.shape)
        noise[masked] = torch.from_numpy(self.state.rand(int(masked.sum())).astype(np.float32))
        return noise


def answer(model: Any, entry: dict[str, Any], page: Any, ids: Any = None, **more: Any) -> tuple[Any, list[int]]:
    """The history of an answer, and the step in which each of its positions was settled, as recorded."""
    arguments = {**entry["args"], "verbose": True, **more}
    if entry["source"] == "image":
        views, size = page
        tokens, history = model.generate(torch.tensor(RECORDED["input_ids"]), [views], [size], **arguments)
    else:
        tokens, history = model.generate(torch.tensor(ids or RECORDED["text_ids"]), **arguments)
    settled = torch.stack(history)[:, 0] != MASK_ID
    unmasked_at = torch.where(settled.any(0), settled.int().argmax(0), -1).tolist()
    if entry["args"]["prefix_lm"] and settled[0, 0] and entry["unmasked_at"][0] == -2:
        unmasked_at[0] = -2
    return (tokens[0].tolist(), history), unmasked_at


def check(model: Any, entry: dict[str, Any], page: Any, **more: Any) -> None:
    (tokens, history), unmasked_at = answer(model, entry, page, **more)
    assert tokens == entry["tokens"]
    assert len(history) == entry["steps"]
    assert unmasked_at == entry["unmasked_at"]


ALONE = [entry for entry in RECORDED["generate"] if entry["source"] != "text2"]
HELD = [entry for entry in ALONE if "raises" not in entry]


@pytest.mark.parametrize("index", range(len(HELD)))
def test_generation(dream_loaded, pages, monkeypatch, index):
    entry = HELD[index]
    if "noise_seed" in entry:
        monkeypatch.setattr(generate, "draw_noise", Stream(entry["noise_seed"]))
    check(dream_loaded[1], entry, pages[0])


def test_where_the_public_code_runs_past_its_schedule_the_answer_is_one_position_a_step(dream_loaded):
    """With a cache the prompt has settled one of 32 positions, and as many steps as positions cannot all be taken."""
    raising = [each for each in ALONE if each.get("raises") and each["args"]["prefix_lm"] and each["source"] == "text"]
    assert len(raising) == 9
    for entry in raising:
        (tokens, history), unmasked_at = answer(dream_loaded[1], {**entry, "unmasked_at": [-2]}, None)
        assert len(history) == 31
        assert sorted(unmasked_at) == [-2, *range(31)]
        without = {**entry["args"], "schedule": "linear", "schedule_kwargs": None, "step_ratio": None}
        if entry["args"]["alg"] == "entropy":
            # One by one is one by one, whatever plans it.
            assert tokens == dream_loaded[1].generate(torch.tensor(RECORDED["text_ids"]), **without)[0].tolist()


def test_more_steps_than_there_are_is_one_clear_error(dream_loaded):
    entry = next(each for each in ALONE if each.get("raises") and not each["args"]["prefix_lm"])
    with pytest.raises(ValueError, match=r"step_ratio=2.0 of max_new_tokens=32 is 64 steps, but it must be 1 to 32"):
        answer(dream_loaded[1], entry, None)


@pytest.mark.parametrize("prefix_lm", [False, True])
def test_rows_of_a_batch_are_what_they_are_alone_unlike_the_recorded_ones(dream_loaded, prefix_lm):
    model = dream_loaded[1]
    entries = [
        each for each in RECORDED["generate"] if each["source"] == "text2" and each["args"]["prefix_lm"] == prefix_lm
    ]
    assert len(entries) == 2
    for entry in entries:
        ids = torch.tensor(RECORDED["text2_ids"])
        together = model.generate(ids, **entry["args"])
        alone = [model.generate(row, **entry["args"])[0] for row in ids]
        assert together.tolist() == [row.tolist() for row in alone]
        assert together.tolist() != entry["tokens"], NOT_ALONE


@pytest.mark.parametrize("entry", RECORDED["edge"]["generate"], ids=lambda entry: entry["args"]["alg"])
def test_a_prompt_that_predicts_the_mask_leaves_the_first_position_open(dream_loaded, entry):
    check(dream_loaded[1], entry, None, ids=RECORDED["edge"]["text_ids"])


@pytest.fixture(scope="module")
def sharp(dream_loaded):
    """The same model with larger weights, whose attention is not nearly uniform."""
    model, rule = copy.deepcopy(dream_loaded[1]), RECORDED["sharp"]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith(rule["prefix"]) and parameter.ndim >= rule["ndim_at_least"]:
                parameter.mul_(rule["factor"])
    return model


@torch.no_grad()
def test_logits_of_the_sharp_model(sharp, pages, arrays):
    views, size = pages[0]
    image = sharp.prepare_inputs(torch.tensor(RECORDED["input_ids"]), images=[views], image_sizes=[size])
    text = sharp.prepare_inputs(torch.tensor(RECORDED["text_ids"]))
    for name, prompt, step in (("0", image, 194), ("text", text, 3)):
        logits = sharp(inputs_embeds=prompt.embeds).logits[0, ::step]
        assert_close(logits, torch.from_numpy(arrays[f"sharp_logits_{name}"]), atol=2e-4, rtol=0.0)


@pytest.mark.parametrize("entry", RECORDED["sharp"]["generate"], ids=lambda entry: entry["args"]["alg"])
def test_generation_of_the_sharp_model(sharp, pages, entry):
    check(sharp, entry, pages[0])


def counts_of(plan: Plan, opened: int) -> list[int]:
    """How many positions each step settles of so many, where every step settles what it may."""
    counts = []
    for step in range(plan.steps):
        counts.append(int(count_of(plan.amount(step), torch.ones(1, opened, dtype=torch.bool))[0]))
        opened -= counts[-1]
    return counts


def test_plans():
    for entry in RECORDED["transfer"]:
        wanted = {
            name: entry[name] for name in ("max_new_tokens", "steps", "step_ratio", "schedule", "eps", "prefix_lm")
        }
        opened = entry["max_new_tokens"] - entry["prefix_lm"]
        if "raises" in entry and entry["step_ratio"] is not None:
            with pytest.raises(ValueError, match="step_ratio"):
                read_settings(**wanted, schedule_kwargs=entry["kwargs"])
            continue
        config = read_settings(**wanted, schedule_kwargs=entry["kwargs"])
        counts = counts_of(Plan.of_block([opened], config, torch.device("cpu")), opened)
        assert counts == entry.get("counts", [1] * opened), entry


def test_noise():
    for entry in RECORDED["noise"]:
        probability = mask_probability(torch.tensor(entry["t"]))
        assert_close(probability, torch.tensor(entry["p_mask"]))
        noise = torch.from_numpy(np.random.RandomState(entry["noise_seed"]).rand(*entry["shape"]))
        masked = noise < probability[:, None]
        recorded = torch.tensor(entry["masked"]).bool()
        # The public code masks the least noisy position too, where chance masks none.
        least = noise == noise.amin(1, keepdim=True)
        assert torch.equal(masked | (least & ~masked.any(1, keepdim=True)), recorded)


@pytest.fixture(scope="module")
def train_model(dream_loaded):
    """The small model with the released vocabulary and ids, filled by the recordings' rule."""
    from fill import fill_state_dict

    vision = dream_loaded[1].config.mm_vision_config
    model = LlavaDreamForMaskedDiffusion(
        LlavaDreamConfig.from_dict({**RECORDED["train_config"], "mm_vision_config": vision})
    )
    held = model.state_dict()
    tower = {name for name in held if ".vision_tower." in name}
    assert {name: list(held[name].shape) for name in held.keys() - tower} == RECORDED["train_state_dict"]
    fill_state_dict(held)
    return model.eval()


@pytest.mark.parametrize("index", range(3))
def test_training_loss_and_gradients(dream_loaded, train_model, pages, index):
    """The recorded masks are passed in: the public code draws them over all positions, and attends to padding."""
    entry, model = RECORDED["train"][index], train_model
    ids, labels = torch.tensor(entry["input_ids"]), torch.tensor(entry["labels"])
    # There, end-of-text always has a label, padding too.
    labels = torch.where(ids == model.config.eos_token_id, ids, labels)
    views, sizes = zip(*(pages[case] for case in entry["cases"]), strict=True)
    batch = model.prepare_inputs(ids, torch.ones_like(ids), images=list(views), image_sizes=list(sizes), labels=labels)
    assert list(batch.lengths) == entry["embeds_lens"]
    noise = np.random.RandomState(entry["noise_seed"]).rand(len(ids), entry["embeds_len"]).astype(np.float32)
    masked = torch.from_numpy(noise <= np.float32(entry["p_mask"])[:, None])
    rows = len(ids)
    assert [(masked & (batch.labels != -100))[row].nonzero()[:, 0].tolist() for row in range(rows)] == entry[
        "masked_positions"
    ][:rows]
    if len(set(batch.lengths)) > 1:
        # The shorter row is filled with zero vectors that are seen there, and hidden here.
        batch = type(batch)(embeds=batch.embeds, lengths=(entry["embeds_len"],) * rows, labels=batch.labels)
    result = masked_diffusion_loss(model, batch, masked)
    assert result.num_masked.tolist() == [sum(entry["masked"][:rows]), sum(entry["masked"][rows:])]
    assert result.loss.item() == pytest.approx(entry["loss"], rel=1e-4)
    assert abs(result.loss.item() - entry["loss_if_not_shifted"]) > 1e-3
    model.zero_grad()
    result.loss.backward()
    language = model.model
    attention = language.layers[0].self_attn
    words = language.embed_tokens.weight.grad
    for name, gradient in {
        "projector0": language.mm_projector[0].weight.grad,
        "embed_tokens": words,
        "lm_head": model.lm_head.weight.grad,
        "q_bias_0": attention["q_proj"].bias.grad,
        "v_bias_0": attention["v_proj"].bias.grad,
        "newline": language.image_newline.grad,
        "mask_row": words[model.config.mask_token_id],
        "pad_row": words[model.config.pad_token_id],
    }.items():
        assert gradient.norm().item() == pytest.approx(entry[f"grad_norm_{name}"], rel=1e-4), name


def test_prompt_template(dream_loaded):
    prompt, template = RECORDED["prompt"], conv_templates["dream"]
    assert dream_loaded[1].config.conversation is template
    for turns in ("one_turn", "two_turns"):
        messages = prompt[turns]["messages_given_to_the_template"]
        conversation = template.copy()
        assert messages[0] == {"role": "system", "content": conversation.system}
        for message in messages[1:]:
            conversation.append_message(message["role"], message["content"])
        conversation.append_message("assistant", None)
        assert conversation.get_prompt() == prompt[turns]["text"]
        rendered = dream_loaded[0].apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert rendered == prompt[turns]["text"]
    assert not template.messages
    assert template.sep == prompt["sep"]
    assert prompt["train_labelled"] == "It is 41.50 euros." + template.turn_end


def test_the_recorded_ids_are_the_defaults():
    config, ids = LlavaDreamConfig(), RECORDED["prompt"]["ids"]
    found = (
        config.mask_token_id,
        config.eos_token_id,
        config.pad_token_id,
        config.start_header_id,
        config.end_header_id,
    )
    assert found == (ids["mask"], ids["eos"], ids["pad"], ids["im_start"], ids["newline"])


def test_public_defaults():
    recorded, config = RECORDED["defaults_from_config"], LlavaDreamConfig()
    assert config.top_k == recorded["top_k"]
    assert read_settings(top_k=config.top_k) == DecodingConfig(
        max_new_tokens=128, steps=128, timesteps=128, remasking="entropy", top_p=0.95, top_k=50
    )
