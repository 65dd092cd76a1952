"""Dream: its cache, its shift by one position and its decoding against their definitions, and whole checkpoints."""

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor
from torch.testing import assert_close
from transformers import AutoConfig, AutoModelForCausalLM

from llava.model.builder import load_pretrained_model
from llava.model.language_model.diffusion import generate
from llava.model.language_model.diffusion.decoding import SCHEDULES, DecodingConfig
from llava.model.language_model.diffusion.progress import Progress
from llava.model.language_model.diffusion.sampling import draw_order, keep_likely, log_odds
from llava.model.language_model.dream.configuration_dream import DreamConfig
from llava.model.language_model.dream.llava_dream import LlavaDreamForMaskedDiffusion
from llava.model.language_model.dream.modeling_dream import DreamModel
from llava.model.language_model.dream.settings import read_settings
from tests.cli_helpers import copy_checkpoint, edit_config, edit_tensors
from tests.model.test_modeling_llada import prefix_mask

WIDTH, HEADS, GROUPS, LAYERS, VOCAB, MASK, STOPS, FILL = 24, 6, 2, 3, 17, 16, (3, 5), 5
SIZES = {"hidden_size": WIDTH, "intermediate_size": 19, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
CLOSE = {"atol": 1e-9, "rtol": 0.0}


def random_model(seed: int = 0, *, force: float = 2.0) -> DreamModel:
    """Weights at random, biases too, in float64 so that rounding decides nothing."""
    torch.manual_seed(seed)
    config = DreamConfig(**SIZES, num_key_value_heads=GROUPS, vocab_size=VOCAB, pad_token_id=5)
    model = DreamModel(config)
    model.set_head(torch.nn.Linear(WIDTH, VOCAB, bias=False).double())
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(force)
    return model.double().eval()


def embeds(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def attention_by_loops(model: DreamModel, hidden: Tensor) -> Tensor:
    """Final hidden states (length, dim) of one row, head by head, as the layers are defined."""
    size = WIDTH // HEADS
    for block in model.layers:
        normed = block.input_layernorm(hidden)
        projected = {name: block.self_attn[f"{name}_proj"](normed) for name in "qkv"}
        results = []
        for head in range(HEADS):
            group = head // (HEADS // GROUPS)
            own, shared = slice(head * size, (head + 1) * size), slice(group * size, (group + 1) * size)
            query, key = (rotated(projected[name][:, part]) for name, part in (("q", own), ("k", shared)))
            weights = (query @ key.T / size**0.5).softmax(-1)
            results.append(weights @ projected["v"][:, shared])
        hidden = hidden + block.self_attn["o_proj"](torch.cat(results, dim=-1))
        normed = block.post_attention_layernorm(hidden)
        gate = torch.nn.functional.silu(block.mlp["gate_proj"](normed))
        hidden = hidden + block.mlp["down_proj"](gate * block.mlp["up_proj"](normed))
    return model.norm(hidden)


def rotated(states: Tensor) -> Tensor:
    half = states.shape[1] // 2
    angles = torch.arange(len(states))[:, None].float() * 1e6 ** -(torch.arange(half).float() / half)
    first, second = states[:, :half], states[:, half:]
    return torch.cat(
        [first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()], dim=1
    )


@torch.no_grad()
def test_heads_share_keys_and_values() -> None:
    model, row = random_model(), embeds(7, WIDTH)
    assert_close(model(row[None])[0], attention_by_loops(model, row), atol=1e-6, rtol=0.0)


@pytest.mark.parametrize("lengths", [[11, 11], [7, 11]])
@torch.no_grad()
def test_cached_denoising_equals_the_prefix_masked_full_forward(lengths: list[int]) -> None:
    model, prefix, answer = random_model(), 11, 5
    prompt, tail = embeds(2, prefix, WIDTH), embeds(2, answer, WIDTH, seed=2)
    cache = model.prefill(prompt, lengths, num_answer=answer)
    before = [states.clone() for layer in range(LAYERS) for states in cache.prefix(layer)]
    cached = model.denoise(tail, cache, model.answer_rotary(cache, answer))
    positions = torch.arange(prefix + answer).repeat(2, 1)
    for row, length in enumerate(lengths):
        positions[row, prefix:] += length - prefix
    full = model(torch.cat([prompt, tail], 1), prefix_mask(lengths, prefix, answer), positions)
    assert_close(cached, full[:, prefix:], **CLOSE)
    assert cache.before is not None
    for row, length in enumerate(lengths):
        assert_close(cache.before[row], full[row, length - 1], **CLOSE)
    after = [states for layer in range(LAYERS) for states in cache.prefix(layer)]
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_the_shift_of_anything_that_lies_along_positions() -> None:
    places = torch.arange(7)[:, None]
    read = [DreamModel.reading(places, start, 7, before)[:, 0].tolist() for start, before in ((0, None), (3, None))]
    assert read == [[0, 0, 1, 2, 3, 4, 5], [2, 3, 4, 5]]
    assert DreamModel.reading(places, 0, 3, torch.tensor([99]))[:, 0].tolist() == [99, 0, 1]
    assert DreamModel.reading(places, 2, 5, torch.tensor([99]))[:, 0].tolist() == [1, 2, 3]


def denoise(
    model: DreamModel, config: DecodingConfig, lengths: Sequence[int] = (7,), draft: Tensor | None = None
) -> Progress:
    ids = {"mask_id": MASK, "stop_ids": STOPS, "fill_id": FILL}
    prefix = embeds(len(lengths), max(lengths), WIDTH)
    return generate.denoise(model, prefix, lengths, config, draft_tokens=draft, **ids)


@torch.no_grad()
def straightforward(model: DreamModel, prefix: Tensor, num_answer: int, *, frozen: bool) -> Tensor:
    """One position a step by probability, everything computed anew, every token read from the one before it."""
    length = prefix.shape[1]
    tokens = torch.full((1, num_answer), MASK)
    mask = prefix_mask([length], length, num_answer) if frozen else None
    open_places = list(range(num_answer))
    while open_places:
        hidden = model(torch.cat([prefix, model.embed_tokens(tokens)], dim=1), mask)
        scores = model.compute_logits(hidden[0, length - 1 : -1]).softmax(-1)
        if frozen and num_answer == len(open_places):
            tokens[0, 0] = scores[0].argmax()
            open_places.remove(0)
            continue
        place = max(open_places, key=lambda each: float(scores[each].max()))
        tokens[0, place] = scores[place].argmax()
        open_places.remove(place)
    return tokens


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("seed", [0, 2, 3, 4])
def test_decoding_is_what_its_definition_says(seed: int, frozen: bool) -> None:
    model, prefix = random_model(seed, force=3.0), embeds(1, 7, WIDTH)
    wanted = straightforward(model, prefix, 9, frozen=frozen)
    assert (wanted != MASK).all(), "otherwise this test shows nothing"
    found = denoise(model, DecodingConfig(max_new_tokens=9, prefix_lm=frozen))
    assert found.tokens.tolist() == wanted.tolist()
    assert found.settled_in[0].min() == (0 if frozen else 1)
    assert found.steps.tolist() == [8 if frozen else 9]
    assert found.probabilities.min() > 0


@st.composite
def plans(draw: st.DrawFn) -> DecodingConfig:
    """Ways to follow a schedule, in blocks too, or a threshold."""
    block = draw(st.sampled_from((4, 6, 12)))
    way: dict[str, Any] = {"step_per_block": draw(st.integers(1, block))}
    way["schedule"] = draw(st.sampled_from((None, *SCHEDULES)))
    way["remasking"] = draw(st.sampled_from(("low_confidence", "entropy", "margin")))
    return DecodingConfig(
        max_new_tokens=12, block_length=block, prefix_lm=True, stop_at_end_of_turn=draw(st.booleans()), **way
    )


SEEDS, FORCES = st.integers(0, 10**6), st.sampled_from((0.5, 3.0, 8.0))


@given(SEEDS, FORCES, plans(), st.integers(1, 5), st.booleans())
@settings(max_examples=15, deadline=None)
def test_drafted_steps_are_those_of_deciding_one_by_one(
    seed: int, force: float, plan: DecodingConfig, lookahead: int, drafted: bool
) -> None:
    model = random_model(seed, force=force)
    draft = torch.tensor([[MASK, 7, MASK, MASK, 2, MASK, 11]]) if drafted else None
    slow, fast = (denoise(model, replace(plan, lookahead=ahead), draft=draft) for ahead in (0, lookahead))
    assert fast.tokens.tolist() == slow.tokens.tolist()
    assert fast.settled_in.tolist() == slow.settled_in.tolist()
    assert_close(fast.probabilities, slow.probabilities)
    assert fast.forwards <= slow.forwards


@given(SEEDS, FORCES, plans(), st.booleans(), st.booleans())
@settings(max_examples=15, deadline=None)
def test_rows_of_a_batch_are_what_they_are_alone(
    seed: int, force: float, plan: DecodingConfig, frozen: bool, by_threshold: bool
) -> None:
    """Prompts of unequal lengths are padded, and what stands in the padding changes nothing."""
    model, lengths = random_model(seed, force=force), (7, 3, 5)
    config = replace(plan, prefix_lm=frozen)
    if by_threshold:
        config = DecodingConfig(max_new_tokens=12, prefix_lm=frozen, threshold=0.3, stop_at_end_of_turn=True)
    together = denoise(model, config, lengths)
    ids = {"mask_id": MASK, "stop_ids": STOPS, "fill_id": FILL}
    prefix = embeds(3, 7, WIDTH)
    for row, length in enumerate(lengths):
        alone = generate.denoise(model, prefix[row : row + 1, :length], [length], config, **ids)
        assert together.tokens[row].tolist() == alone.tokens[0].tolist()
        assert together.settled_in[row].tolist() == alone.settled_in[0].tolist()
        assert_close(together.probabilities[row], alone.probabilities[0])


@pytest.mark.parametrize("frozen", [False, True])
def test_a_draft_keeps_its_own_first_token(frozen: bool) -> None:
    draft = torch.tensor([[11, MASK, MASK, 12, MASK]])
    found = denoise(random_model(3), DecodingConfig(max_new_tokens=8, prefix_lm=frozen), draft=draft)
    assert found.tokens[0, [0, 3]].tolist() == [11, 12]
    assert found.probabilities[0, [0, 3]].tolist() == [1.0, 1.0]


class TestSampling:
    LOGITS = torch.tensor([[[2.0, 1.0, 0.0, -1.0, -5.0]]])

    def test_the_token_that_crosses_the_limit_stays(self) -> None:
        shares = self.LOGITS.softmax(-1)[0, 0].cumsum(0)
        for limit, kept in ((0.3, 1), (float(shares[0]) + 1e-4, 2), (float(shares[1]) + 1e-4, 3), (1.0, 5), (None, 5)):
            left = keep_likely(self.LOGITS, top_p=limit, top_k=None)
            assert int((left > -1e30).sum()) == kept

    def test_the_limit_counts_shares_at_the_temperature_of_the_draw(self) -> None:
        assert int((keep_likely(self.LOGITS, top_p=0.9, top_k=None, temperature=9.0) > -1e30).sum()) == 5
        assert int((keep_likely(self.LOGITS, top_p=0.9, top_k=None, temperature=0.1) > -1e30).sum()) == 1

    def test_the_rest_is_judged_as_if_there_were_no_others(self) -> None:
        left = keep_likely(self.LOGITS.flip(-1), top_p=None, top_k=2)
        assert left.isfinite().all()
        chosen = left.argmax(-1)
        assert_close(log_odds(left, chosen), torch.tensor([[1.0]]))
        only = keep_likely(self.LOGITS, top_p=None, top_k=1)
        assert log_odds(only, only.argmax(-1)).isfinite().all()

    def test_order_is_drawn_by_confidence(self) -> None:
        """Two positions: the first goes first as often as the softmax of their confidences says."""
        scores = torch.tensor([[0.8, 0.2]]).logit().expand(20_000, 2)
        generator = torch.Generator().manual_seed(0)
        drawn = draw_order(scores, "low_confidence", 0.5, generator)
        wanted = float((torch.tensor([0.8, 0.2]) / 0.5).softmax(-1)[0])
        assert float((drawn[:, 0] > drawn[:, 1]).float().mean()) == pytest.approx(wanted, abs=0.015)


@pytest.mark.parametrize("changes", [{"alg_temp": 0.3}, {"temperature": 0.8}, {"alg": "origin"}])
def test_chance_follows_its_generator(dream_loaded: Any, changes: dict[str, Any]) -> None:
    def drawn(seed: int) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        ids = torch.tensor([[5, 9, 31]])
        return dream_loaded[1].generate(ids, max_new_tokens=16, generator=generator, **changes)[0].tolist()

    assert drawn(1) == drawn(1)
    assert len({tuple(drawn(seed)) for seed in range(4)}) > 1
    assert read_settings(**changes).random


@pytest.mark.parametrize(
    ("given_settings", "words"),
    [
        ({"alg": "entrophy"}, "alg 'entrophy' does not exist"),
        ({"steps": 12, "max_new_tokens": 24, "step_ratio": 1.0}, "is 24 steps, but it must be 1 to 12"),
        ({"step_ratio": 0.001}, "is 0 steps"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"eps": 1.0}, "eps"),
        ({"alg": "origin", "schedule": "shift"}, "give timesteps"),
        ({"alg_temp": -1.0}, "order_temperature"),
        ({"steps": 0}, "steps must be a positive"),
        ({"num_beams": 3}, "num_beams"),
    ],
)
def test_settings_that_do_not_fit_are_named(dream_loaded: Any, given_settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        dream_loaded[1].generate(torch.tensor([[5]]), **given_settings)


def test_one_object_of_settings_is_taken_as_it_is(dream_loaded: Any) -> None:
    model, ids = dream_loaded[1], torch.tensor([[5, 9, 31]])
    config = DecodingConfig(max_new_tokens=8, prefix_lm=True)
    given_settings = {"alg": "maskgit_plus", "schedule": "linear", "top_p": None, "top_k": None, "prefix_lm": True}
    found = model.generate(ids, decoding=config)
    assert found.tolist() == model.generate(ids, max_new_tokens=8, **given_settings).tolist()
    with pytest.raises(ValueError, match="once"):
        model.generate(ids, decoding=config, alg="entropy")
    with pytest.raises(TypeError, match="max_new_token"):
        model.generate(ids, max_new_token=8)


class TestCheckpoints:
    def test_saving_and_loading_changes_no_bit(self, dream_loaded: Any, tmp_path: Path) -> None:
        model = dream_loaded[1]
        for shard in ("5GB", "200KB"):
            out = tmp_path / shard
            model.save_pretrained(out, max_shard_size=shard)
            dream_loaded[0].save_pretrained(out)
            again = load_pretrained_model(out, device_map="cpu")[1]
            assert (out / "model.safetensors").is_file() == (shard == "5GB")
            held = model.state_dict()
            assert all(torch.equal(tensor, held[name]) for name, tensor in again.state_dict().items())
            ids = torch.tensor([[5, 9, 31]])
            assert again.generate(ids, max_new_tokens=8).tolist() == model.generate(ids, max_new_tokens=8).tolist()
            stored = {name for file in out.glob("*.safetensors") for name in load_file(file)}
            assert stored == set(held)
            assert "top_k" not in json.loads((out / "config.json").read_text()) or again.config.top_k == 50

    def test_the_kind_is_told_by_the_configuration_alone(self, tiny_dream_checkpoint: Path, tmp_path: Path) -> None:
        """The released folder's name says nothing of LLaVA or Dream, and another's may say LLaDA."""
        directory = copy_checkpoint(tiny_dream_checkpoint, tmp_path / "all").rename(tmp_path / "all" / "llada-hd")
        assert type(load_pretrained_model(directory, device_map="cpu")[1]) is LlavaDreamForMaskedDiffusion
        config = AutoConfig.from_pretrained(directory)
        assert AutoModelForCausalLM._model_mapping[type(config)] is LlavaDreamForMaskedDiffusion

    def test_one_that_lacks_its_head_is_refused(self, tiny_dream_checkpoint: Path, tmp_path: Path) -> None:
        directory = copy_checkpoint(tiny_dream_checkpoint, tmp_path / "all")
        edit_tensors(directory, lambda tensors: tensors.pop("lm_head.weight"))
        with pytest.raises(ValueError, match=r"1 missing \(lm_head.weight\)"):
            load_pretrained_model(directory, device_map="cpu")

    @pytest.mark.parametrize(
        ("setting", "named"),
        [
            ({"num_key_value_heads": 3}, "num_key_value_heads=3"),
            ({"hidden_act": "gelu"}, "hidden_act"),
            ({"tie_word_embeddings": True}, "tie_word_embeddings"),
            ({"rope_scaling": {"rope_type": "yarn"}}, "rope_scaling"),
            ({"hidden_size": 65}, "hidden_size"),
            ({"num_hidden_layers": 0}, "num_hidden_layers"),
            ({"pad_token_id": 512}, "pad_token_id"),
        ],
    )
    def test_an_architecture_that_is_not_implemented_is_refused(
        self, tiny_dream_checkpoint: Path, tmp_path: Path, setting: dict[str, Any], named: str
    ) -> None:
        directory = copy_checkpoint(tiny_dream_checkpoint, tmp_path / "all")
        edit_config(directory, **setting)
        with pytest.raises(ValueError, match=named):
            load_pretrained_model(directory, device_map="cpu")

    def test_a_copy_has_a_head_of_its_own(self, dream_loaded: Any) -> None:
        model = copy.deepcopy(dream_loaded[1])
        assert model.model.head is model.lm_head is model.get_output_embeddings()
        with torch.no_grad():
            model.lm_head.weight.zero_()
        assert not model(torch.tensor([[5, 9]])).logits.any()
        assert dream_loaded[1](torch.tensor([[5, 9]])).logits.any()

    def test_added_tokens_get_rows(self, dream_loaded: Any) -> None:
        model = copy.deepcopy(dream_loaded[1])
        model.resize_token_embeddings(523)
        assert model.config.vocab_rows == 523
        assert len(model.lm_head.weight) == len(model.model.embed_tokens.weight) == 523
        assert model.model.head is model.lm_head
        assert model(torch.tensor([[522]])).logits.shape == (1, 1, 523)
