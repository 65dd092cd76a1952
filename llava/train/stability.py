"""Telling early that a run is unstable, and what to do about it."""

import logging
import math
from collections import deque
from statistics import median
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

logger = logging.getLogger(__name__)

WINDOW = 20
"""Logged losses that count as the recent past."""
RISE = 1.5
"""A loss this many times the recent median, twice in a row, is no noise."""


class StabilityMonitor:
    """Watches logged losses and gradient norms."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._high = 0

    def update(self, loss: float, grad_norm: float | None = None) -> str | None:
        """What is wrong now, if anything: a number that is none, or a loss that has left its recent level."""
        for name, value in (("loss", loss), ("gradient norm", grad_norm)):
            if value is not None and not math.isfinite(value):
                return f"the {name} is {value}"
        level = median(self._recent) if len(self._recent) >= WINDOW // 2 else math.inf
        self._high = self._high + 1 if loss > RISE * level else 0
        if self._high < 2:
            if not self._high:
                self._recent.append(loss)
            return None
        return f"the loss rose to {loss:.3g} from about {level:.3g}"


class StabilityCallback(TrainerCallback):
    """Logs a warning when training is unstable."""

    def __init__(self, *, uses_lora: bool, rank: int) -> None:
        self.monitor = StabilityMonitor()
        self.advice = (
            f"set trainable: rank: 16 (it is {rank})"
            if uses_lora and rank > 16
            else "lower trainable: learning_rates, or raise trainer: warmup_steps"
        )

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        logs = logs or {}
        if "loss" not in logs or not state.is_world_process_zero:
            return
        trouble = self.monitor.update(float(logs["loss"]), logs.get("grad_norm"))
        if trouble:
            logger.warning("training is unstable at step %d: %s; %s", state.global_step, trouble, self.advice)
