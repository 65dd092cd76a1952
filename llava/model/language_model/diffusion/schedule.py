"""How many tokens each denoising step unmasks.

LaViDa's schedules (arXiv 2505.16839, section 3.3; public code ``generate.py``): a curve over [0, 1] is cut into steps,
and the tokens are dealt out along it, its end first. A convex curve (``shift`` < 1) settles much at once and then
slows down; the paper's value is 1/3. ``linear`` deals as evenly as rounding lets it, ``uniform`` gives what is left
over to the first steps.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from llava.model.language_model.diffusion.decoding import DEFAULT_SHIFT, DecodingConfig, check_schedule


def _curve(schedule: str, time: Tensor, shift: float) -> Tensor:
    if schedule == "linear":
        return time
    if schedule == "shift":
        return shift * time / (1 + (shift - 1) * time)
    if schedule == "cosine":
        return 0.5 - 0.5 * torch.cos(math.pi * time)
    return 0.5 * (1 + torch.erf(torch.logit(time) / math.sqrt(2)))


def num_transfer_tokens(
    num_masked: Sequence[int], steps: int, schedule: str | None = None, schedule_kwargs: Mapping[str, Any] | None = None
) -> Tensor:
    """Tokens to unmask per sample and step, (batch, steps) int64 on the CPU; each row adds up to its ``num_masked``.

    A sample with fewer masks than steps takes one token a step and then zeros.

    Raises:
        ValueError: for an unknown schedule, or fewer than one step.
    """
    check_schedule(schedule, schedule_kwargs)
    if steps < 1:
        raise ValueError(f"at least one denoising step is needed, got {steps}")
    shift = float((schedule_kwargs or {}).get("shift", DEFAULT_SHIFT))
    plan = torch.zeros(len(num_masked), steps, dtype=torch.int64)
    for row, masked in zip(plan, num_masked, strict=True):
        used = min(steps, masked)
        if used == 0:
            continue
        if schedule in (None, "uniform"):
            row[:used] = masked // used
            row[: masked % used] += 1
        else:
            row[:used] = _deal_along_curve(_curve(schedule, torch.linspace(0, 1, used + 1), shift), masked)
    return plan


def _deal_along_curve(curve: Tensor, masked: int) -> Tensor:
    """At least one token a step; what that costs is taken round robin from the steps that hold more than one."""
    counts = (curve * masked).to(torch.int64).diff().clamp_(min=1)
    excess = int(counts.sum()) - masked
    while excess > 0:
        spare = (counts > 1).nonzero().flatten()[:excess]
        counts[spare] -= 1
        excess -= len(spare)
    return counts.flip(0)


def time_shares(steps: int, timesteps: int, eps: float) -> Tensor:
    """What share of the open positions each step settles along a time axis, (steps,) float32 on the CPU; the last one
    settles all."""
    times = torch.linspace(1, eps, timesteps + 1)
    shares = (1 - times[1:] / times[:-1])[:steps]
    shares[-1] = 1
    return shares


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much each step of a block settles: numbers of positions, or shares of what is open by then."""

    steps: int
    counts: Tensor | None = None
    """(batch, steps) int64."""
    shares: Tensor | None = None
    """(steps,) float32."""

    @classmethod
    def of_block(cls, num_masked: Sequence[int], config: DecodingConfig, device: torch.device) -> "Plan":
        """The plan of a block that has so many masks in each row; without any, there is no step to take."""
        if config.timesteps is not None:
            # Its steps are a matter of time: a model that predicts masks leaves more to the last one.
            steps = config.steps_per_block if any(num_masked) else 0
            return cls(steps=steps, shares=time_shares(steps, config.timesteps, config.eps).to(device))
        steps = min(config.max_steps_per_block, max(num_masked))
        if steps == 0:
            return cls(steps=0)
        counts = num_transfer_tokens(num_masked, steps, config.schedule, config.schedule_kwargs)
        return cls(steps=steps, counts=counts.to(device))

    def amount(self, step: int) -> Tensor:
        """What a step settles: (batch,) int64 positions, or a share (,) float32 of what is open."""
        if self.counts is not None:
            return self.counts[:, step]
        assert self.shares is not None
        return self.shares[step]


def is_share(amount: Tensor) -> bool:
    """Whether ``Plan.amount`` tells a share, not positions."""
    return amount.is_floating_point()


def goes_on(amount: Tensor) -> Tensor:
    """(batch,) or (,) bool: rows whose own plan, as if they were alone, is not at its end."""
    return amount.new_ones((), dtype=torch.bool) if is_share(amount) else amount > 0


def count_of(amount: Tensor, masked: Tensor) -> Tensor:
    """(batch,) int64 positions that a step settles of ``masked`` (batch, window)."""
    return (masked.sum(-1) * amount).long() if is_share(amount) else amount
