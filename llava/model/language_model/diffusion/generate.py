"""Denoising: from a masked answer behind a prompt to its tokens.

LaViDa's decoding (arXiv 2505.16839), with the prompt's keys and values frozen in a cache, logits only where a token may
be chosen, and no wait for the device inside a step.

Axis names: batch (samples), prefix (prompt positions), answer (positions to fill), window (those of the active block),
dim, vocab.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from llava.model.language_model.backbone import Backbone
from llava.model.language_model.diffusion.committing import commit_above, commit_count
from llava.model.language_model.diffusion.cuda_graph import check_capturable
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.model.language_model.diffusion.drafting import take_drafted_steps
from llava.model.language_model.diffusion.ending import Ending
from llava.model.language_model.diffusion.predicting import Predict, make_predictor
from llava.model.language_model.diffusion.progress import DenoisingStep, Progress
from llava.model.language_model.diffusion.sampling import confidence, log_odds, sample_tokens
from llava.model.language_model.diffusion.schedule import num_transfer_tokens


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
) -> Progress:
    """Answers to embedded prompts: their ids (batch, answer), and how they came about.

    Args:
        prefix_embeds: (batch, prefix, dim), padded at the end.
        prefix_lengths: real positions of each prompt, on the host.
        stop_ids: ids that end an answer; ``fill_id`` stands behind the first of them when stopping is on.
        draft_tokens: (batch, at most answer) ids, ``mask_id`` where a token is wanted: infilling.
        on_step: called after every forward.

    Raises:
        ValueError: if the draft does not fit, or a step is to be captured and the model is not on one CUDA device.
    """
    if config.cuda_graph:
        check_capturable(model)
    device = prefix_embeds.device
    tokens = _masked_answer(draft_tokens, len(prefix_embeds), config.max_new_tokens, mask_id, device)
    num_masked = (tokens == mask_id).unflatten(1, (-1, config.block)).sum(-1).T.tolist()
    steps_of_block = [min(config.max_steps_per_block, max(counts)) for counts in num_masked]
    predict = make_predictor(model, prefix_embeds, prefix_lengths, config)
    ending = Ending(config, mask_id=mask_id, stop_ids=stop_ids, fill_id=fill_id, device=device)
    progress, done = Progress.start(tokens, mask_id), 0

    def report(steps: int) -> None:
        if on_step is not None:
            on_step(DenoisingStep(index=done + steps, planned=sum(steps_of_block), progress=progress))

    for block, (counts, steps) in enumerate(zip(num_masked, steps_of_block, strict=True)):
        start, end = block * config.block, (block + 1) * config.block
        if steps == 0:
            continue
        if done and ending.answer_is_over(tokens):
            break
        # A model may predict the mask itself; LaViDa lets such positions be settled together with a later block.
        if block and bool((tokens[:, :start] == mask_id).any()):
            start = 0
        plan = num_transfer_tokens(counts, steps, config.schedule, config.schedule_kwargs).to(device)
        if config.lookahead:
            done += take_drafted_steps(progress, predict, plan, start, end, config, ending, report)
            continue
        for step in range(steps):
            _take_step(progress, predict, plan[:, step], start, end, config, ending, generator)
            report(step + 1)
            if ending.block_is_over(ending.done(tokens, start, end)):
                break
        done += step + 1
    tokens.copy_(ending.fill(tokens))
    return progress


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


def _take_step(
    progress: Progress,
    predict: Predict,
    count: Tensor,
    start: int,
    end: int,
    config: DecodingConfig,
    ending: Ending,
    generator: torch.Generator | None,
) -> None:
    """One forward, and the positions it settles written into ``progress``.

    Args:
        count: (batch,) positions that the schedule settles, where no threshold decides.
    """
    tokens = progress.tokens
    active = ~ending.done(tokens, start, end)
    logits = predict(tokens, start, end)
    window = tokens[:, start:end]
    chosen = sample_tokens(logits, config.temperature, generator)
    scores = confidence(logits, chosen, config.remasking, generator)
    odds = scores if config.remasking == "low_confidence" else log_odds(logits, chosen)
    masked = window == ending.mask_id
    settled = (
        commit_count(scores, masked, count)
        if config.threshold is None
        else commit_above(scores, masked, config.threshold)
    )
    progress.steps += active
    progress.forwards += active
    window.copy_(torch.where(settled, chosen, window))
    for known, new in (
        (progress.probabilities[:, start:end], odds.sigmoid()),
        (progress.settled_in[:, start:end], progress.steps[:, None]),
    ):
        known.copy_(torch.where(settled, new, known))
    if config.threshold is not None and config.stop_at_end_of_turn:
        behind = ending.behind(tokens) & (tokens == ending.mask_id)
        tokens.masked_fill_(behind, ending.fill_id)
        progress.probabilities.masked_fill_(behind, 1.0)
        progress.settled_in.copy_(torch.where(behind, progress.steps[:, None], progress.settled_in))
