"""When an answer is done, and what stands behind its end.

Axis names: batch (samples), answer (positions to fill); a state of an answer may have further axes in front.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from llava.model.language_model.diffusion.decoding import DecodingConfig


class DelayedFlag:
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


class Ending:
    """Knows the ids that end an answer, and looks for the first of them: what stands behind it is never read.

    Low-confidence order settles the end tokens behind an answer first, so that the tail tells nothing.
    """

    def __init__(
        self, config: DecodingConfig, *, mask_id: int, stop_ids: Sequence[int], fill_id: int, device: torch.device
    ) -> None:
        self.config, self.mask_id, self.fill_id = config, mask_id, fill_id
        self.ids = (mask_id, fill_id, *stop_ids)
        """All that is looked for or written."""
        self.stop = torch.tensor(list(stop_ids), device=device)
        self.flag = DelayedFlag(device)

    def ended(self, tokens: Tensor) -> Tensor:
        """(...,) True where an end of turn stands in ``tokens`` (..., answer) with no mask before it."""
        first_open = (self._is_stop(tokens) | (tokens == self.mask_id)).int().argmax(-1, keepdim=True)
        return self._is_stop(tokens.gather(-1, first_open))[..., 0]

    def _is_stop(self, tokens: Tensor) -> Tensor:
        # torch.isin waits for the device where there are many ids.
        return (tokens[..., None] == self.stop).any(-1)

    def done(self, tokens: Tensor, start: int, end: int) -> Tensor:
        """(...,) True where the positions from ``start`` to ``end`` need no more steps."""
        full = (tokens[..., start:end] != self.mask_id).all(-1)
        return full | self.ended(tokens) if self.config.stop_at_end_of_turn else full

    def block_is_over(self, all_done: Tensor) -> bool:
        """Whether every row is done (,), for settings that can finish before their plan; one step too many is
        harmless."""
        if self.config.threshold is not None:
            # A threshold is there to save whole steps, so it must not be told one step late.
            return bool(all_done)
        return self.config.stop_at_end_of_turn and self.flag.update(all_done)

    def answer_is_over(self, tokens: Tensor) -> bool:
        """Whether the blocks that are left can be skipped."""
        return self.config.stop_at_end_of_turn and bool(self.ended(tokens).all())

    def behind(self, tokens: Tensor) -> Tensor:
        """(batch, answer) True behind the first end of turn that is settled, whatever stands before it."""
        is_stop = self._is_stop(tokens).int()
        return is_stop.cumsum(-1) - is_stop > 0

    def fill(self, tokens: Tensor) -> Tensor:
        """The tokens, with the filling id behind the first end of turn if decoding stops there."""
        return tokens.masked_fill(self.behind(tokens), self.fill_id) if self.config.stop_at_end_of_turn else tokens
