"""The language model: cache and masks against plain full attention."""

import pytest
import torch
from torch.testing import assert_close

from llava.model.language_model.llada.configuration_llada import LLaDAConfig
from llava.model.language_model.llada.modeling_llada import LLaDAModel
from llava.model.language_model.rotary import apply_rotary, rotary_embedding

WIDTH, HEADS, LAYERS, VOCAB = 20, 2, 3, 53
CLOSE = {"atol": 2e-5, "rtol": 0.0}


@pytest.fixture
def model() -> LLaDAModel:
    config = LLaDAConfig(d_model=WIDTH, n_heads=HEADS, n_layers=LAYERS, mlp_hidden_size=28, vocab_size=VOCAB)
    return LLaDAModel(config).eval()


def prefix_mask(lengths: list[int], prefix: int, answer: int) -> torch.Tensor:
    """(batch, length, length), written out: prompts see themselves, answers see their prompt and themselves."""
    mask = torch.zeros(len(lengths), prefix + answer, prefix + answer, dtype=torch.bool)
    for row, length in enumerate(lengths):
        for query in range(prefix + answer):
            for key in range(prefix + answer):
                in_prompt = key < length
                mask[row, query, key] = in_prompt or (key >= prefix and query >= prefix)
    return mask


@pytest.mark.parametrize("lengths", [[11, 11], [7, 11]])
@torch.no_grad()
def test_cached_denoising_equals_the_prefix_masked_full_forward(model, lengths):
    prefix, answer = 11, 5
    prompt, tail = torch.randn(2, prefix, WIDTH), torch.randn(2, answer, WIDTH)
    cache = model.prefill(prompt, lengths, num_answer=answer)
    cached = model.denoise(tail, cache, model.answer_rotary(cache, answer))

    positions = torch.arange(prefix + answer).repeat(2, 1)
    for row, length in enumerate(lengths):
        positions[row, prefix:] += length - prefix
    full = model(torch.cat([prompt, tail], 1), prefix_mask(lengths, prefix, answer), positions)
    assert_close(cached, full[:, prefix:], **CLOSE)
    unmasked = model(torch.cat([prompt, tail], 1), None, positions)
    assert not torch.allclose(cached, unmasked[:, prefix:], **CLOSE)


@torch.no_grad()
def test_denoising_leaves_the_prefix_cache_bit_identical(model):
    cache = model.prefill(torch.randn(2, 7, WIDTH), [5, 7], num_answer=3)
    before = [states.clone() for layer in range(LAYERS) for states in cache.prefix(layer)]
    for _ in range(2):
        model.denoise(torch.randn(2, 3, WIDTH), cache, model.answer_rotary(cache, 3))
    after = [states for layer in range(LAYERS) for states in cache.prefix(layer)]
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


@torch.no_grad()
def test_padding_is_not_attended_to(model):
    rows = [torch.randn(length, WIDTH) for length in (5, 11)]
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=3.0)
    mask = torch.arange(11) < torch.tensor([[5], [11]])
    batched = model(padded, mask)
    for row, single in zip(batched, rows, strict=True):
        assert_close(row[: len(single)], model(single[None])[0], **CLOSE)


def test_prefill_skips_the_head_and_the_last_layer_s_output(model, monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("the prefix needs neither logits nor the last layer's output")

    monkeypatch.setattr(model, "compute_logits", refuse)
    monkeypatch.setattr(model.blocks[-1], "forward", refuse)
    model.prefill(torch.randn(1, 3, WIDTH), [3], num_answer=2)


def test_rotary_is_computed_in_float32():
    positions = torch.tensor([[4095]])
    cos, sin = rotary_embedding(positions, 10, 500000.0)
    assert cos.dtype == sin.dtype == torch.float32
    exact = 4095 * 500000.0 ** -(torch.arange(0, 10, 2, dtype=torch.float64) / 10)
    assert_close(cos[0, 0, 0, :5].double(), exact.cos(), atol=2e-4, rtol=0)
    states = torch.randn(1, HEADS, 1, 10).bfloat16()
    assert apply_rotary(states, (cos, sin)).dtype == torch.bfloat16


def test_rotary_keeps_lengths_and_depends_on_distance_only():
    query, key = torch.randn(1, 1, 1, 10), torch.randn(1, 1, 1, 10)

    def score(query_at: int, key_at: int) -> torch.Tensor:
        rotated = [
            apply_rotary(states, rotary_embedding(torch.tensor([[at]]), 10, 500000.0))
            for states, at in ((query, query_at), (key, key_at))
        ]
        return (rotated[0] * rotated[1]).sum()

    assert_close(score(3, 10), score(103, 110), atol=1e-4, rtol=0)
    assert not torch.isclose(score(3, 10), score(10, 3), atol=1e-4)


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"n_kv_heads": 1}, "n_kv_heads"),
        ({"include_bias": True}, "include_bias"),
        ({"activation_type": "gelu"}, "activation_type"),
        ({"d_model": 21}, "d_model"),
        ({"embedding_size": 7}, "embedding_size"),
        ({"n_layers": 0}, "n_layers"),
    ],
)
def test_an_architecture_that_is_not_implemented_is_refused(setting, named):
    with pytest.raises(ValueError, match=named):
        LLaDAConfig(**{"d_model": WIDTH, "n_heads": HEADS, "vocab_size": VOCAB, **setting})


def test_tied_head_uses_the_embedding():
    model = LLaDAModel(LLaDAConfig(d_model=WIDTH, n_heads=HEADS, n_layers=1, vocab_size=VOCAB, weight_tying=True))
    hidden = torch.randn(3, WIDTH)
    assert_close(model.compute_logits(hidden), hidden @ model.transformer["wte"].weight.T)
    assert "transformer.ff_out.weight" not in model.state_dict()
