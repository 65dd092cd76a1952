"""Drafting steps ahead: the tokens, the order and the steps of deciding one by one, in fewer forwards."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from llava.model.language_model.diffusion import generate
from llava.model.language_model.diffusion.decoding import SCHEDULES, DecodingConfig
from llava.model.language_model.diffusion.predicting import make_predictor
from llava.model.language_model.diffusion.progress import DenoisingStep, Progress
from llava.model.language_model.llada.configuration_llada import LLaDAConfig
from llava.model.language_model.llada.modeling_llada import LLaDAModel

WIDTH, VOCAB, MASK, STOPS, FILL = 12, 17, 16, (3, 5), 5


def random_model(seed: int, *, force: float) -> LLaDAModel:
    """Weights at random, in float64 so that rounding decides nothing.

    ``force`` is how much tokens change each other.
    """
    torch.manual_seed(seed)
    config = LLaDAConfig(
        d_model=WIDTH, n_heads=3, n_layers=2, mlp_hidden_size=19, vocab_size=VOCAB, answer_places=seed % 3 * 5
    )
    model = LLaDAModel(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(force)
    return model


def denoise(
    model: LLaDAModel,
    config: DecodingConfig,
    lengths: Sequence[int] = (7,),
    draft: Tensor | None = None,
    **options: Any,
) -> Progress:
    prefix = torch.randn(
        len(lengths), max(lengths), WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    ids = {"mask_id": MASK, "stop_ids": STOPS, "fill_id": FILL}
    return generate.denoise(model, prefix, lengths, config, draft_tokens=draft, **ids, **options)


@st.composite
def plans(draw: st.DrawFn) -> DecodingConfig:
    """Every deterministic way to follow a schedule."""
    block = draw(st.sampled_from((4, 6, 12)))
    return DecodingConfig(
        max_new_tokens=12,
        block_length=block,
        step_per_block=draw(st.integers(1, block)),
        schedule=draw(st.sampled_from((None, *SCHEDULES))),
        remasking=draw(st.sampled_from(("low_confidence", "entropy", "margin"))),
        prefix_lm=True,
        stop_at_end_of_turn=draw(st.booleans()),
    )


SEEDS, FORCES, LOOKAHEADS = st.integers(0, 10**6), st.sampled_from((0.5, 3.0, 8.0)), st.integers(1, 5)


@given(SEEDS, FORCES, plans(), LOOKAHEADS, st.booleans())
@settings(max_examples=150, deadline=None)
def test_drafted_steps_are_those_of_deciding_one_by_one(
    seed: int, force: float, plan: DecodingConfig, lookahead: int, drafted: bool
) -> None:
    """Vocabularies hold the mask and two ends, so that models predict masks and stop early as well."""
    model = random_model(seed, force=force)
    draft = torch.tensor([[MASK, 7, MASK, MASK, 2, MASK, 11]]) if drafted else None
    slow = denoise(model, plan, draft=draft)
    fast = denoise(model, replace(plan, lookahead=lookahead), draft=draft)
    assert fast.tokens.tolist() == slow.tokens.tolist()
    assert fast.settled_in.tolist() == slow.settled_in.tolist()
    torch.testing.assert_close(fast.probabilities, slow.probabilities)
    assert fast.steps.tolist() == slow.steps.tolist() == slow.forwards.tolist()
    assert fast.forwards <= slow.forwards


@given(SEEDS, FORCES, plans(), LOOKAHEADS)
@settings(max_examples=60, deadline=None)
def test_rows_of_a_batch_are_drafted_as_if_alone(seed: int, force: float, plan: DecodingConfig, lookahead: int) -> None:
    model, lengths = random_model(seed, force=force), (7, 3, 5)
    together = denoise(model, replace(plan, lookahead=lookahead), lengths)
    assert together.tokens.tolist() == denoise(model, plan, lengths).tokens.tolist()


def test_a_batch_counts_for_each_row_what_that_row_needed() -> None:
    model, lengths = random_model(11, force=3.0), (7, 3, 5)
    config = DecodingConfig(max_new_tokens=12, prefix_lm=True, lookahead=3)
    together = denoise(model, config, lengths)
    prefix = torch.randn(3, 7, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ids = {"mask_id": MASK, "stop_ids": STOPS, "fill_id": FILL}
    for row, length in enumerate(lengths):
        alone = generate.denoise(model, prefix[row : row + 1, :length], [length], config, **ids)
        for name in ("tokens", "settled_in", "steps", "forwards"):
            assert getattr(together, name)[row].tolist() == getattr(alone, name)[0].tolist(), name


def test_what_does_not_depend_on_other_tokens_takes_one_forward_for_many_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Drafts are then always right: 12 steps are one forward, and three more of up to four steps."""
    scores = torch.randn(12, VOCAB, generator=torch.Generator().manual_seed(2))
    scores[:, MASK] = -10

    def make(*_: Any) -> Any:
        return lambda tokens, start, end: scores[start:end].expand(*tokens.shape[:2], -1, -1), None

    monkeypatch.setattr(generate, "make_predictor", make)
    seen: list[DenoisingStep] = []
    config = DecodingConfig(max_new_tokens=12, prefix_lm=True, lookahead=3)
    done = denoise(random_model(0, force=1.0), config, on_step=lambda step: seen.append(step))
    assert [step.index for step in seen] == [1, 5, 9, 12]
    assert (done.steps.tolist(), done.forwards.tolist()) == ([12], [4])
    assert done.tokens[0].tolist() == scores.argmax(-1).tolist()


def test_a_wrong_draft_costs_nothing_and_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each settled token makes another one the surest, so that every draft is wrong."""

    def make(*_: Any) -> Any:
        def predict(tokens: Tensor, start: int, end: int) -> Tensor:
            settled = (tokens != MASK).sum(-1, keepdim=True)
            places = torch.arange(end, device=tokens.device)
            # The surest position is the settled ones' count times seven, around the answer.
            sureness = 1.0 / (1 + (places - 7 * settled - 3) % 12)
            logits = torch.zeros(*tokens.shape, VOCAB)
            return logits.scatter(-1, (settled % 3).expand_as(tokens)[..., None], sureness[..., None].float() * 9)

        return predict, None

    monkeypatch.setattr(generate, "make_predictor", make)
    config = DecodingConfig(max_new_tokens=12, prefix_lm=True)
    slow, fast = (denoise(random_model(0, force=1.0), replace(config, lookahead=ahead)) for ahead in (0, 4))
    assert fast.forwards.tolist() == slow.forwards.tolist() == [12]
    assert fast.tokens.tolist() == slow.tokens.tolist()
    assert fast.settled_in.tolist() == slow.settled_in.tolist()


@pytest.mark.parametrize("lengths", [[7], [7, 3]])
@torch.no_grad()
def test_states_side_by_side_are_scored_as_if_alone(lengths: list[int]) -> None:
    model = random_model(5, force=2.0)
    config = DecodingConfig(max_new_tokens=5, prefix_lm=True, lookahead=3)
    prefix = torch.randn(len(lengths), 7, WIDTH, dtype=torch.float64)
    states = torch.randint(VOCAB, (len(lengths), 4, 5))
    together, _ = make_predictor(model, prefix, lengths, config)
    alone, _ = make_predictor(model, prefix, lengths, replace(config, lookahead=0))
    for count in (4, 2, 1, 3):
        found = together(states[:, :count], 1, 4)
        for place in range(count):
            torch.testing.assert_close(found[:, place], alone(states[:, place], 1, 4))
    assert not torch.allclose(found[:, 0], found[:, 1])


@pytest.mark.parametrize(
    ("given_settings", "named"),
    [
        ({"temperature": 0.5}, "temperature at 0"),
        ({"remasking": "random"}, "does not draw"),
        ({"threshold": 0.9}, "threshold out"),
        ({"prefix_lm": False}, "prefix_lm on"),
        ({"cuda_graph": True}, "cuda_graph off"),
        ({"lookahead": -1}, "lookahead must be 0 or a positive"),
        ({"lookahead": True}, "lookahead must be 0 or a positive"),
    ],
)
def test_what_cannot_be_foretold_is_refused(given_settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        DecodingConfig(**{"prefix_lm": True, "lookahead": 2, **given_settings})
