"""Denoising: from a masked answer behind a prompt to its tokens.

LaViDa's decoding (arXiv 2505.16839), with the prompt's keys and values frozen in a cache, logits only where a token may
be chosen, and no wait for the device inside a step.

Axis names: batch (samples), prefix (prompt positions), answer (positions to fill), window (those of the active block),
dim, vocab.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from llava.model.language_model.backbone import Backbone
from llava.model.language_model.diffusion.committing import commit_above, commit_count, commit_share
from llava.model.language_model.diffusion.cuda_graph import check_capturable
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.model.language_model.diffusion.drafting import take_drafted_steps
from llava.model.language_model.diffusion.ending import Ending
from llava.model.language_model.diffusion.kept_steps import KeptSteps
from llava.model.language_model.diffusion.predicting import Predict, make_predictor
from llava.model.language_model.diffusion.progress import DenoisingStep, Progress
from llava.model.language_model.diffusion.sampling import (
    confidence,
    draw_noise,
    draw_order,
    keep_likely,
    log_odds,
    sample_tokens,
)
from llava.model.language_model.diffusion.schedule import Plan, count_of, goes_on


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
    kept_steps: KeptSteps | None = None,
) -> Progress:
    """Answers to embedded prompts: their ids (batch, answer), and how they came about.

    Args:
        prefix_embeds: (batch, prefix, dim), padded at the end.
        prefix_lengths: real positions of each prompt, on the host.
        stop_ids: ids that end an answer; ``fill_id`` stands behind the first of them when stopping is on.
        draft_tokens: (batch, at most answer) ids, ``mask_id`` where a token is wanted: infilling.
        on_step: called after every forward.
        kept_steps: what ``cuda_graph`` keeps from answer to answer; all is recorded anew when not given.

    Raises:
        ValueError: if the draft does not fit, or a step is to be captured and the model is not on one CUDA device.
    """
    if config.cuda_graph:
        check_capturable(model)
    device = prefix_embeds.device
    tokens = _masked_answer(draft_tokens, len(prefix_embeds), config.max_new_tokens, mask_id, device)
    plans = _plan_blocks(tokens, mask_id, config)
    ending = Ending(config, mask_id=mask_id, stop_ids=stop_ids, fill_id=fill_id, device=device)
    progress, done, later_first = Progress.start(tokens, mask_id), 0, model.predicts_next
    kept = (kept_steps or KeptSteps()).find(model, prefix_embeds, config, ending) if config.cuda_graph else None
    if kept is not None:
        progress = kept.progress.restart(progress)
        tokens = progress.tokens
    predict, first = make_predictor(model, prefix_embeds, prefix_lengths, config, kept)
    if first is not None:
        _settle_first(progress, first, mask_id)
        _settle_behind(progress, config, ending)
        plans = _plan_blocks(tokens, mask_id, config)
    planned = sum(plan.steps for plan in plans)

    def report(steps: int) -> None:
        if on_step is not None:
            on_step(DenoisingStep(index=done + steps, planned=planned, progress=progress))

    for block, plan in enumerate(plans):
        start, end = block * config.block, (block + 1) * config.block
        if plan.steps == 0:
            continue
        if (done or first is not None) and ending.answer_is_over(tokens):
            break
        # A model may predict the mask itself; LaViDa lets such positions be settled together with a later block.
        if block and bool((tokens[:, :start] == mask_id).any()):
            start = 0
        if config.lookahead:
            assert plan.counts is not None
            done += take_drafted_steps(progress, predict, plan.counts, start, end, config, ending, later_first, report)
            continue
        take = partial(
            _take_step,
            progress=progress,
            predict=predict,
            start=start,
            end=end,
            config=config,
            ending=ending,
            later_first=later_first,
            generator=generator,
        )
        for step in range(plan.steps):
            amount = plan.amount(step)
            all_done = take(amount) if kept is None else kept.run((start, end), amount, take)
            report(step + 1)
            if ending.block_is_over(all_done):
                break
        done += step + 1
    tokens.copy_(ending.fill(tokens))
    return progress if kept is None else progress.copy()


def _masked_answer(draft_tokens: Tensor | None, batch: int, length: int, mask_id: int, device: torch.device) -> Tensor:
    tokens = torch.full((batch, length), mask_id, device=device)
    if draft_tokens is not None:
        if draft_tokens.shape[0] != batch or not 0 < draft_tokens.shape[1] <= length:
            raise ValueError(
                f"draft_tokens has shape {tuple(draft_tokens.shape)}, but must be ({batch}, at most {length}): "
                "raise max_new_tokens or shorten the draft"
            )
        tokens[:, : draft_tokens.shape[1]] = draft_tokens.to(device)
    return tokens


def _plan_blocks(tokens: Tensor, mask_id: int, config: DecodingConfig) -> list[Plan]:
    num_masked = (tokens == mask_id).unflatten(1, (-1, config.block)).sum(-1).T.tolist()
    return [Plan.of_block(counts, config, tokens.device) for counts in num_masked]


def _settle_first(progress: Progress, logits: Tensor, mask_id: int) -> None:
    """Write the first token, which the prompt alone predicts, where it is open; it takes no step."""
    chosen = logits.argmax(-1)
    opened = progress.tokens[:, 0] == mask_id
    settled = opened & (chosen != mask_id)
    for known, new in ((progress.tokens, chosen), (progress.probabilities, log_odds(logits, chosen).sigmoid())):
        known[:, 0] = torch.where(settled, new, known[:, 0])


def _take_step(
    amount: Tensor,
    *,
    progress: Progress,
    predict: Predict,
    start: int,
    end: int,
    config: DecodingConfig,
    ending: Ending,
    later_first: bool,
    generator: torch.Generator | None,
) -> Tensor:
    """One forward, and the positions it settles written into ``progress``: as many as the plan says, where no threshold
    decides. Gives whether every row is done (,).

    What differs from step to step stands in tensors, and nothing is read on the host, so that it can be recorded.
    """
    tokens = progress.tokens
    active = ~ending.done(tokens, start, end) & goes_on(amount)
    logits = predict(tokens, start, end)
    logits = keep_likely(logits, top_p=config.top_p, top_k=config.top_k, temperature=config.temperature)
    window = tokens[:, start:end]
    chosen = sample_tokens(logits, config.temperature, generator)
    masked = window == ending.mask_id
    if config.remasking == "share":
        odds = log_odds(logits, chosen)
        settled = commit_share(draw_noise(masked, generator), masked, amount)
    else:
        scores = confidence(logits, chosen, config.remasking, generator)
        odds = scores if config.remasking == "low_confidence" else log_odds(logits, chosen)
        if config.threshold is not None:
            settled = commit_above(scores, masked, config.threshold)
        else:
            if config.order_temperature:
                scores = draw_order(scores, config.remasking, config.order_temperature, generator)
            settled = commit_count(scores, masked, count_of(amount, masked), later_first=later_first)
    # A row that is done waits for the others, as it is.
    settled = settled & active[:, None]
    progress.steps += active
    progress.forwards += active
    window.copy_(torch.where(settled, chosen, window))
    for known, new in (
        (progress.probabilities[:, start:end], odds.sigmoid()),
        (progress.settled_in[:, start:end], progress.steps[:, None]),
    ):
        known.copy_(torch.where(settled, new, known))
    _settle_behind(progress, config, ending)
    return ending.done(tokens, start, end).all()


def _settle_behind(progress: Progress, config: DecodingConfig, ending: Ending) -> None:
    """Where a threshold decides, a settled end of turn settles what is still open behind it."""
    if config.threshold is not None and config.stop_at_end_of_turn:
        tokens = progress.tokens
        behind = ending.behind(tokens) & (tokens == ending.mask_id)
        tokens.masked_fill_(behind, ending.fill_id)
        progress.probabilities.masked_fill_(behind, 1.0)
        progress.settled_in.copy_(torch.where(behind, progress.steps[:, None], progress.settled_in))
