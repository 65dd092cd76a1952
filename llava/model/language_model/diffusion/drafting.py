"""Several steps in one forward: the next ones are drafted, and all of them are verified together.

A step at temperature 0 is a function of the tokens that stand so far. What the steps after it will do is drafted from
the same logits: the positions that these hold surest next. The next forward scores the answer as it stands *and* as it
would stand after each drafted step. A drafted state counts if it is, token for token, what the step before it really
gives, so that the answer, the order and every probability are those of deciding step by step. At batch 1 a forward on a
GPU waits for the weights and not for arithmetic, so that scoring several states takes little longer than scoring one.

After FreeDave (arXiv 2510.00294), which drafts from the logits at hand too; Spiffy (arXiv 2509.18085) and SSD (arXiv
2510.04147) verify graphs and trees of such states.

Axis names: batch (samples), states (the answer as it stands, and after each drafted step), answer (positions to fill),
window (those of the active block).
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from llava.model.language_model.diffusion.committing import rank
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.model.language_model.diffusion.ending import Ending
from llava.model.language_model.diffusion.predicting import Predict
from llava.model.language_model.diffusion.progress import Progress
from llava.model.language_model.diffusion.sampling import confidence, keep_likely, log_odds, sample_tokens


def take_drafted_steps(
    progress: Progress,
    predict: Predict,
    plan: Tensor,
    start: int,
    end: int,
    config: DecodingConfig,
    ending: Ending,
    later_first: bool,
    report: Callable[[int], None],
) -> int:
    """Take all steps of a block, written into ``progress``; gives how many its slowest row took.

    Args:
        plan: (batch, steps) int64 positions that each step settles.
        start: the first position that the block may settle.
        end: the one behind its last.
        later_first: which of equal scores goes first, as in ``rank``.
        report: told after every forward how many steps are done.
    """
    tokens, steps = progress.tokens, (plan > 0).sum(1)
    # Nothing is planned behind the last step, where drafts may look.
    plan = pad(plan, (0, 1 + config.lookahead))
    taken = torch.zeros_like(progress.steps)
    states = tokens[:, None]
    while True:
        logits = predict(states, start, end)
        windows = states[..., start:end]
        logits = keep_likely(logits, top_p=config.top_p, top_k=config.top_k)
        chosen = sample_tokens(logits, config.temperature)
        scores = confidence(logits, chosen, config.remasking)
        odds = scores if config.remasking == "low_confidence" else log_odds(logits, chosen)
        masked = windows == ending.mask_id
        order = taken[:, None] + torch.arange(states.shape[1], device=tokens.device)
        ranks = rank(scores, masked, later_first=later_first)
        settled = masked & (ranks < plan.gather(1, order)[..., None])
        after = torch.where(settled, chosen, windows)
        # A state is real if all before it are, and the step taken from the one before it leads to it.
        real = pad((after[:, :-1] == windows[:, 1:]).all(-1), (1, 0), value=True)
        steps_on = real & ~ending.done(states, start, end) & (order < steps[:, None])
        steps_on = steps_on.int().cumprod(1).bool()
        accepted = steps_on.sum(1)
        _write(progress, settled & steps_on[..., None], chosen, odds, start, end)
        progress.steps += accepted
        progress.forwards += accepted > 0
        taken += accepted
        left = (steps - taken).masked_fill(ending.done(tokens, start, end), 0)
        most_taken, most_left = torch.stack([taken.max(), left.max()]).tolist()
        report(most_taken)
        if most_left == 0:
            return most_taken
        newest = (accepted - 1).clamp(min=0)[:, None, None].expand(-1, 1, end - start)
        # Of the newest real state: how many its own step settled, and how many the drafted ones settle on top. A row
        # that is done stays so whatever is drafted for it, since drafts only settle more.
        ahead = torch.arange(min(1 + config.lookahead, most_left), device=tokens.device)
        order = (taken[:, None] - 1).clamp(min=0) + ahead
        totals = plan.gather(1, order).cumsum(1)
        drafted = masked.gather(1, newest) & (ranks.gather(1, newest) < totals[..., None])
        states = tokens[:, None].repeat(1, totals.shape[1], 1)
        states[..., start:end] = torch.where(drafted, chosen.gather(1, newest), windows.gather(1, newest))


def _write(progress: Progress, accepted: Tensor, chosen: Tensor, odds: Tensor, start: int, end: int) -> None:
    """Settle what ``accepted`` (batch, states, window) says, each state being a step later than the one before."""
    steps = torch.arange(1, accepted.shape[1] + 1, device=chosen.device)[:, None]
    # A position can be settled twice only if the model predicted the mask itself; the later one counts.
    ahead = (accepted * steps).amax(1, keepdim=True)
    settled, place = (ahead > 0)[:, 0], (ahead - 1).clamp(min=0)
    for known, new in (
        (progress.tokens, chosen.gather(1, place)[:, 0]),
        (progress.probabilities, odds.gather(1, place)[:, 0].sigmoid()),
        (progress.settled_in, progress.steps[:, None] + ahead[:, 0]),
    ):
        window = known[:, start:end]
        window.copy_(torch.where(settled, new, window))
