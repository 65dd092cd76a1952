"""Settings of denoising, validated once."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SCHEDULES = ("uniform", "linear", "shift", "cosine", "logit_normal")
DEFAULT_SHIFT = 1 / 3
"""The paper's recommendation; LaViDa's own code defaults to 3, which the paper reports as far worse."""

REMASKING = ("low_confidence", "entropy", "margin", "random", "share")
_DRAWN = ("random", "share")
_SPELLINGS = {"entrophy": "entropy"}


@dataclass(frozen=True, kw_only=True)
class DecodingConfig:
    """How an answer is denoised; the names are those of LaViDa's ``generate``.

    Raises:
        ValueError: naming the setting that is wrong and what it must be.
    """

    max_new_tokens: int = 128
    """Answer positions; all of them are masked at the start."""
    block_length: int | None = None
    """Positions settled together, left to right block by block; None is one block."""
    steps: int | None = None
    """Denoising steps of the whole answer; None is one step per token, before ``step_ratio``."""
    step_ratio: float | None = None
    """Steps per token."""
    step_per_block: int | None = None
    """Steps per block, at most one per token."""
    schedule: str | None = None
    """uniform (None), linear, shift, cosine or logit_normal."""
    schedule_kwargs: Mapping[str, Any] | None = None
    remasking: str = "low_confidence"
    """Which positions are settled first: low_confidence, entropy, margin or random. ``share``, along a time axis, lets
    chance decide for each position whether a step settles it."""
    temperature: float = 0.0
    top_p: float | None = None
    """Choose among the most probable tokens that together hold this much, and judge them as if there were no others."""
    top_k: int | None = None
    """Choose among so many of the most probable tokens; behind ``top_p`` where both are given."""
    order_temperature: float = 0.0
    """Above 0, positions are drawn with probabilities that grow with the confidence divided by this."""
    timesteps: int | None = None
    """Instead of a schedule, go along a time axis cut into so many equal steps from 1 down to ``eps``: from time t to
    s, the share 1 - s/t of the positions that are still open is settled, rounded down, and all of them in the last step
    (Dream, arXiv 2508.15487; MDLM, arXiv 2406.07524). Fewer ``steps`` walk its beginning only."""
    eps: float = 1e-3
    """Where the time axis ends."""
    prefix_lm: bool = False
    """Compute the prompt's keys and values once and freeze them; otherwise everything is recomputed each step."""
    stop_at_end_of_turn: bool = False
    """Stop when everything before the first end of turn is settled, and fill what follows with end of text."""
    threshold: float | None = None
    """Settle every position whose probability exceeds this, at least one a step, instead of following a schedule
    (confidence-threshold decoding, Fast-dLLM, arXiv 2505.22618). With ``stop_at_end_of_turn``, a settled end of turn
    settles everything behind it."""
    lookahead: int = 0
    """Steps that are drafted ahead and verified together in the next forward (FreeDave, arXiv 2510.00294): the same
    tokens in the same order, in fewer forwards. 0 decides step by step."""
    cuda_graph: bool = False
    """Record a whole step once, from tokens to tokens, and start it in one launch afterwards, in later answers to
    prompts of about the same length too; needs ``prefix_lm``, the language model on one CUDA device, and steps that
    draw nothing at random."""

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "block_length", "steps", "step_per_block", "top_k", "timesteps"):
            value = getattr(self, name)
            required = name == "max_new_tokens"
            if (value is not None or required) and (type(value) is not int or value < 1):
                raise ValueError(f"{name} must be a positive whole number, got {value!r}")
        if self.max_new_tokens % self.block:
            raise ValueError(
                f"max_new_tokens={self.max_new_tokens} must be a multiple of block_length={self.block}; "
                "change one of them"
            )
        if sum(value is not None for value in (self.steps, self.step_per_block)) > 1:
            raise ValueError("steps and step_per_block exclude each other; give one of them")
        if self.steps is not None and (self.step_ratio is not None or self.steps < self.num_blocks):
            raise ValueError(
                f"steps={self.steps} needs at least one step for each of the {self.num_blocks} blocks and no step_ratio"
            )
        if self.step_ratio is not None and not 0 < self.step_ratio < math.inf:
            raise ValueError(f"step_ratio must be a positive number, got {self.step_ratio!r}")
        for name in ("temperature", "order_temperature"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or a positive number, got {getattr(self, name)!r}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p!r}")
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise ValueError(f"threshold must lie between 0 and 1, got {self.threshold!r}")
        if self.threshold is not None and self.remasking != "low_confidence":
            raise ValueError("threshold works on the probability of the token; leave remasking at low_confidence")
        if self.threshold is not None:
            for name in ("steps", "step_ratio", "step_per_block", "schedule", "timesteps"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} plans what threshold decides step by step; leave out one of the two")
        if self.cuda_graph and not self.prefix_lm:
            raise ValueError("cuda_graph records a step behind a frozen prompt; turn prefix_lm on or cuda_graph off")
        object.__setattr__(self, "remasking", check_remasking(self.remasking))
        if self.cuda_graph and self.random:
            raise ValueError(
                "cuda_graph replays one recorded step, which can draw nothing; leave out temperature, "
                "order_temperature and remasking by chance, or cuda_graph"
            )
        if type(self.lookahead) is not int or self.lookahead < 0:
            raise ValueError(f"lookahead must be 0 or a positive whole number, got {self.lookahead!r}")
        if self.lookahead:
            self._check_lookahead()
        check_schedule(self.schedule, self.schedule_kwargs)
        if self.steps_per_block < 1:
            raise ValueError(
                f"step_ratio={self.step_ratio} leaves no step for a block of {self.block} tokens; raise it"
            )
        self._check_time_axis()

    def _check_time_axis(self) -> None:
        if self.timesteps is None:
            if self.remasking == "share":
                raise ValueError("remasking 'share' settles what a time axis says; give timesteps, or another rule")
            return
        if self.schedule is not None or self.num_blocks > 1:
            raise ValueError("timesteps plan an answer of one block without a schedule; leave out one of the two")
        if not 0 < self.eps < 1:
            raise ValueError(f"eps must lie between 0 and 1, got {self.eps!r}")
        if self.steps_per_block > self.timesteps:
            raise ValueError(
                f"{self.steps_per_block} steps do not fit on a time axis of timesteps={self.timesteps}; give fewer "
                "steps or a lower step_ratio, or more timesteps"
            )

    def _check_lookahead(self) -> None:
        """Refuse settings under which a step cannot be foretold, or not be verified beside others."""
        for needed, mend in (
            (self.temperature == 0, "temperature at 0"),
            (self.remasking not in _DRAWN, "remasking at a rule that does not draw"),
            (self.order_temperature == 0, "order_temperature at 0"),
            (self.timesteps is None, "timesteps out"),
            (self.threshold is None, "threshold out"),
            (self.prefix_lm, "prefix_lm on"),
            (not self.cuda_graph, "cuda_graph off"),
        ):
            if not needed:
                raise ValueError(f"lookahead verifies what a step would have done; leave {mend}, or lookahead at 0")

    @property
    def random(self) -> bool:
        """Whether denoising draws at random, so that a seed matters."""
        return self.temperature > 0 or self.order_temperature > 0 or self.remasking in _DRAWN

    @property
    def block(self) -> int:
        """Positions per block."""
        return self.block_length or self.max_new_tokens

    @property
    def num_blocks(self) -> int:
        return self.max_new_tokens // self.block

    @property
    def steps_per_block(self) -> int:
        """Planned steps of one block: one per token, unless steps, step_per_block or step_ratio say otherwise."""
        steps = self.block
        if self.steps is not None:
            steps = self.steps // self.num_blocks
        if self.step_per_block is not None:
            steps = min(self.step_per_block, self.block)
        return int(steps * self.step_ratio) if self.step_ratio is not None else steps

    @property
    def max_steps_per_block(self) -> int:
        """Most steps one block may take; a threshold settles at least one position a step."""
        return self.block if self.threshold is not None else self.steps_per_block


def check_remasking(rule: str) -> str:
    """The rule's name in this package's spelling (LaViDa's ``entrophy`` is accepted).

    Raises:
        ValueError: for a rule that does not exist.
    """
    rule = _SPELLINGS.get(rule, rule)
    if rule not in REMASKING:
        raise ValueError(f"remasking {rule!r} does not exist; use one of {', '.join(REMASKING)}")
    return rule


def check_schedule(schedule: str | None, schedule_kwargs: Mapping[str, Any] | None) -> None:
    """Refuse an unknown schedule or setting.

    Raises:
        ValueError: naming the schedule or setting, and what exists.
    """
    if schedule is not None and schedule not in SCHEDULES:
        raise ValueError(f"schedule {schedule!r} does not exist; use one of {', '.join(SCHEDULES)}")
    settings = dict(schedule_kwargs or {})
    shift = settings.pop("shift", DEFAULT_SHIFT)
    if settings or (schedule_kwargs and schedule != "shift"):
        raise ValueError(f"schedule {schedule or 'uniform'!r} does not take {sorted(schedule_kwargs or {})}")
    if isinstance(shift, bool) or not isinstance(shift, int | float) or not 0 < shift < math.inf:
        raise ValueError(f"schedule_kwargs['shift'] must be a positive number, got {shift!r}")
