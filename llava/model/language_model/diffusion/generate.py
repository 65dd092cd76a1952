"""Denoising: from a masked answer behind a prompt to its tokens.

LaViDa's decoding (arXiv 2505.16839), with the prompt's keys and values frozen in a cache, logits only where a token may
be chosen, and no wait for the device inside a step.

Axis names: batch (samples), prefix (prompt positions), answer (positions to fill), dim, vocab.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llava.model.language_model.backbone import Backbone
from llava.model.language_model.diffusion.cuda_graph import CapturedStep, check_capturable
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.model.language_model.diffusion.sampling import confidence, log_odds, sample_tokens
from llava.model.language_model.diffusion.schedule import num_transfer_tokens


@dataclass(frozen=True, kw_only=True)
class DenoisingStep:
    """What an observer sees after a step."""

    index: int
    """Steps done so far, counted from 1 over all blocks."""
    planned: int
    """Steps the settings allow; stopping early or a threshold may need fewer."""
    tokens: Tensor
    """(batch, answer) ids, masks where nothing is settled yet. A live view: copy it to keep it."""
    probabilities: Tensor
    """(batch, answer) float32: how probable each token was when it was settled; 0 at masks, 1 for a draft's own tokens.
    A live view too."""


class _DelayedFlag:
    """A device flag read one step late, so that the host never waits for the step it has just started."""

    def __init__(self, device: torch.device) -> None:
        self.on_cuda = device.type == "cuda"
        self.pending: tuple[Tensor, torch.cuda.Event] | None = None

    def update(self, flag: Tensor) -> bool:
        """Hand in the newest flag; returns the one before it on CUDA, the newest elsewhere."""
        if not self.on_cuda:
            return bool(flag)
        copy = torch.empty(flag.shape, dtype=flag.dtype, pin_memory=True).copy_(flag, non_blocking=True)
        previous, self.pending = self.pending, (copy, torch.cuda.Event())
        self.pending[1].record()
        if previous is None:
            return False
        previous[1].synchronize()
        return bool(previous[0])


class _Ending:
    """Tells when a block needs no more steps, for settings that can finish before their plan."""

    def __init__(self, config: DecodingConfig, mask_id: int, stop_ids: Sequence[int], device: torch.device) -> None:
        self.config, self.mask_id = config, mask_id
        self.stop = torch.tensor(list(stop_ids), device=device)
        self.flag = _DelayedFlag(device)

    def ended(self, tokens: Tensor) -> Tensor:
        """(batch,) True where an end of turn stands with no mask before it."""
        first_open = (torch.isin(tokens, self.stop) | (tokens == self.mask_id)).int().argmax(1, keepdim=True)
        return torch.isin(tokens.gather(1, first_open), self.stop)[:, 0]

    def after_step(self, tokens: Tensor, window: Tensor) -> bool:
        """Whether the block is done. A step too many changes nothing: what is settled stays."""
        if self.config.threshold is None and not self.config.stop_at_end_of_turn:
            return False
        done = (window != self.mask_id).all(1)
        if self.config.stop_at_end_of_turn:
            done |= self.ended(tokens)
        # A threshold is there to save whole steps, so it must not be told one step late.
        return bool(done.all()) if self.config.threshold is not None else self.flag.update(done.all())

    def before_block(self, tokens: Tensor) -> bool:
        """Whether the blocks that are left can be skipped."""
        return self.config.stop_at_end_of_turn and bool(self.ended(tokens).all())

    def fill(self, tokens: Tensor, fill_id: int) -> Tensor:
        """The tokens, with ``fill_id`` behind the first end of turn if decoding stops there."""
        if not self.config.stop_at_end_of_turn:
            return tokens
        is_stop = torch.isin(tokens, self.stop).int()
        return tokens.masked_fill(is_stop.cumsum(1) - is_stop > 0, fill_id)


@torch.no_grad()
def denoise(
    model: Backbone,
    prefix_embeds: Tensor,
    prefix_lengths: Sequence[int],
    config: DecodingConfig,
    *,
    mask_id: int,
    stop_ids: Sequence[int],
    fill_id: int,
    draft_tokens: Tensor | None = None,
    generator: torch.Generator | None = None,
    on_step: Callable[[DenoisingStep], None] | None = None,
) -> Tensor:
    """Answer ids (batch, answer) for embedded prompts.

    Args:
        prefix_embeds: (batch, prefix, dim), padded at the end.
        prefix_lengths: real positions of each prompt, on the host.
        stop_ids: ids that end an answer; ``fill_id`` stands behind the first of them when stopping is on.
        draft_tokens: (batch, at most answer) ids, ``mask_id`` where a token is wanted: infilling.
        on_step: called after every step.

    Raises:
        ValueError: if the draft does not fit, or a step is to be captured and the model is not on one CUDA device.
    """
    if config.cuda_graph:
        check_capturable(model)
    length, device = config.max_new_tokens, prefix_embeds.device
    tokens = torch.full((len(prefix_embeds), length), mask_id, device=device)
    if draft_tokens is not None:
        if draft_tokens.shape[0] != len(tokens) or not 0 < draft_tokens.shape[1] <= length:
            raise ValueError(
                f"draft_tokens has shape {tuple(draft_tokens.shape)}, but must be ({len(tokens)}, at most {length}): "
                "raise max_new_tokens or shorten the draft"
            )
        tokens[:, : draft_tokens.shape[1]] = draft_tokens.to(device)
    num_masked = (tokens == mask_id).unflatten(1, (-1, config.block)).sum(-1).T.tolist()
    steps_of_block = [min(config.max_steps_per_block, max(counts)) for counts in num_masked]
    predict = _predictor(model, prefix_embeds, prefix_lengths, config)
    ending = _Ending(config, mask_id, stop_ids, device)
    done, probabilities = 0, (tokens != mask_id).float()
    for block, (counts, steps) in enumerate(zip(num_masked, steps_of_block, strict=True)):
        start, end = block * config.block, (block + 1) * config.block
        if steps == 0:
            continue
        if done and ending.before_block(tokens):
            break
        # A model may predict the mask itself; LaViDa lets such positions be settled together with a later block.
        if block and bool((tokens[:, :start] == mask_id).any()):
            start = 0
        plan = num_transfer_tokens(counts, steps, config.schedule, config.schedule_kwargs).to(device)
        for step in range(steps):
            logits = predict(tokens, start, end)
            window = tokens[:, start:end]
            chosen = sample_tokens(logits, config.temperature, generator)
            scores = confidence(logits, chosen, config.remasking, generator)
            masked = window == mask_id
            if config.threshold is None:
                settled = _top(scores, masked, plan[:, step])
            else:
                settled = _above(scores, masked, config.threshold)
            window.copy_(torch.where(settled, chosen, window))
            done += 1
            if on_step is not None:
                odds = scores if config.remasking == "low_confidence" else log_odds(logits, chosen)
                known = probabilities[:, start:end]
                known.copy_(torch.where(settled, odds.sigmoid(), known))
                planned = sum(steps_of_block)
                on_step(DenoisingStep(index=done, planned=planned, tokens=tokens, probabilities=probabilities))
            if ending.after_step(tokens, window):
                break
    return ending.fill(tokens, fill_id)


def _predictor(
    model: Backbone, prefix_embeds: Tensor, prefix_lengths: Sequence[int], config: DecodingConfig
) -> Callable[[Tensor, int, int], Tensor]:
    """A function from answer ids and a window to float32 logits (batch, window, vocab)."""
    length = config.max_new_tokens
    if config.prefix_lm:
        cache = model.prefill(prefix_embeds, prefix_lengths, num_answer=length)
        rotary = model.answer_rotary(cache, length)

        def hidden_states(tokens: Tensor) -> Tensor:
            return model.denoise(model.embed_tokens(tokens), cache, rotary)

        step = CapturedStep(hidden_states) if config.cuda_graph else hidden_states

        def predict_from_cache(tokens: Tensor, start: int, end: int) -> Tensor:
            return model.compute_logits(step(tokens)[:, start:end]).float()

        return predict_from_cache

    batch, prefix, _ = prefix_embeds.shape
    lengths = torch.tensor(list(prefix_lengths), device=prefix_embeds.device)[:, None]
    slots = torch.arange(prefix + length, device=prefix_embeds.device).expand(batch, -1)
    positions = torch.where(slots < prefix, slots, slots - prefix + lengths)
    mask = (slots < lengths) | (slots >= prefix) if min(prefix_lengths) < prefix else None

    def predict(tokens: Tensor, start: int, end: int) -> Tensor:
        embeds = torch.cat([prefix_embeds, model.embed_tokens(tokens)], dim=1)
        hidden = model(embeds, attention_mask=mask, position_ids=positions)
        return model.compute_logits(hidden[:, prefix + start : prefix + end]).float()

    return predict


def _top(scores: Tensor, masked: Tensor, count: Tensor) -> Tensor:
    """The ``count`` (batch,) most confident masked positions of each row; equal scores go to the earlier one."""
    order = scores.masked_fill(~masked, -torch.inf).argsort(dim=-1, descending=True, stable=True)
    ranks = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    return masked & (ranks < count[:, None])


def _above(log_odds: Tensor, masked: Tensor, threshold: float) -> Tensor:
    """Masked positions whose probability exceeds the threshold, and the most probable one in any case."""
    log_odds = log_odds.masked_fill(~masked, -torch.inf)
    best = torch.zeros_like(masked).scatter_(1, log_odds.argmax(1, keepdim=True), True)
    return masked & (best | (log_odds > math.log(threshold / (1 - threshold))))
