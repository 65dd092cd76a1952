"""What a recorded denoising step reads and writes, kept at its place from answer to answer and from page to page.

A recording holds addresses. So the keys and values of the prompt, its length, the answer and what a step is to settle
all stand in buffers that the next answer of the same kind fills anew. Prompts of different lengths share the buffers
of the next multiple of ``ROOM`` positions; what a prompt leaves of them is hidden from attention as padding is.

Axis names: batch (samples), answer (positions to fill).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from llava.model.language_model.backbone import Backbone
from llava.model.language_model.diffusion.cuda_graph import CapturedStep
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.model.language_model.diffusion.ending import Ending
from llava.model.language_model.diffusion.kv_cache import KVCache
from llava.model.language_model.diffusion.progress import Progress
from llava.model.language_model.rotary import Rotary

ROOM = 256
"""Positions by which the room for a prompt grows."""
KINDS = 4
"""Kinds of answers whose buffers are kept; a page's budgets make two or three."""


@dataclass(frozen=True, kw_only=True)
class StepBuffers:
    """The buffers of one kind of answer, and its recordings by their windows."""

    cache: KVCache
    rotary: Rotary
    progress: Progress
    amount: Tensor
    """What the plan says for a step: (batch,) int64 positions, or a share (,) float32."""
    recorded: dict[tuple[int, int], CapturedStep] = field(default_factory=dict)

    def take_rotary(self, rotary: Rotary) -> Rotary:
        """The angles of this answer, where they are read."""
        for kept, new in zip(self.rotary, rotary, strict=True):
            kept.copy_(new)
        return self.rotary

    def run(self, window: tuple[int, int], amount: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """A step over a window of the answer, of what ``function`` makes of the amount it is to settle."""
        self.amount.copy_(amount)
        return self.recorded.setdefault(window, CapturedStep())(lambda: function(self.amount))


class KeptSteps:
    """The buffers of the kinds of answers that were given last; they belong to one model."""

    def __init__(self) -> None:
        self._kept: list[tuple[Any, StepBuffers]] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> "KeptSteps":
        """Nothing: a copied model lies elsewhere."""
        return KeptSteps()

    def find(self, model: Backbone, prefix_embeds: Tensor, config: DecodingConfig, ending: Ending) -> StepBuffers:
        """The buffers for an answer to prompts (batch, prefix, dim), made now if there are none.

        A recording reads the weights where they lay, so that those of a model that was moved or given others do not
        count.
        """
        batch, prefix, _ = prefix_embeds.shape
        room = -(-prefix // ROOM) * ROOM
        # The head may lie outside the backbone.
        weights = tuple(each.data_ptr() for each in (*model.parameters(), model.head_weight))
        kind = (batch, room, config, ending.ids, prefix_embeds.dtype, prefix_embeds.device, weights)
        for place, (known, buffers) in enumerate(self._kept):
            if known == kind:
                self._kept.append(self._kept.pop(place))
                return buffers
        buffers = _make_buffers(model, prefix_embeds, room, config)
        self._kept = [*self._kept[1 - KINDS :], (kind, buffers)]
        return buffers


def _make_buffers(model: Backbone, prefix_embeds: Tensor, room: int, config: DecodingConfig) -> StepBuffers:
    batch, length = len(prefix_embeds), config.max_new_tokens
    cache = model.new_cache(prefix_embeds, prefix_length=room, num_answer=length, padded=True)
    cache.begin([room] * batch)
    device = prefix_embeds.device
    shares = config.timesteps is not None
    return StepBuffers(
        cache=cache,
        rotary=model.answer_rotary(cache, length),
        progress=Progress.start(torch.zeros(batch, length, dtype=torch.int64, device=device), mask_id=0),
        amount=torch.zeros((), device=device) if shares else torch.zeros(batch, dtype=torch.int64, device=device),
    )
