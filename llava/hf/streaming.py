"""Drafts of an answer as text, while it is denoised.

``generate`` speaks the language of transformers' streamers: ``put`` with the prompt, ``put_draft`` after every
forward, ``put`` with the answer, ``end``. ``TextDiffusionStreamer`` of transformers writes drafts to the terminal; the
one here hands them to a function, for notebooks, web pages and servers.
"""

from collections.abc import Callable
from itertools import groupby

from torch import Tensor
from transformers.generation.streamers import BaseStreamer

from llava.hf.processing import LavidaProcessor
from llava.model.language_model.lavida import LavidaForMaskedDiffusion

MASK_SIGN = "\N{LIGHT SHADE}"


class DraftStreamer(BaseStreamer):
    """Calls ``on_draft(text)`` after every forward and ``on_answer(text)`` once, for one prompt at a time.

    Args:
        mask: what stands for a position that is not settled.
    """

    def __init__(
        self,
        model: LavidaForMaskedDiffusion,
        processor: LavidaProcessor,
        on_draft: Callable[[str], object],
        on_answer: Callable[[str], object] | None = None,
        *,
        mask: str = MASK_SIGN,
    ) -> None:
        config, eos = model.config, model.config.eos_token_id
        self.tokenizer, self.mask, self.mask_id = processor.tokenizer, mask, config.mask_token_id
        self.ends = {config.eot_token_id, *([eos] if isinstance(eos, int) else eos or ())}
        self.on_draft, self.on_answer = on_draft, on_answer
        self.asked = False

    def put(self, value: Tensor) -> None:
        """Take the prompt, which is not told, or the answer."""
        if self.asked and self.on_answer is not None:
            self.on_answer(self._text(value))
        self.asked = True

    def put_draft(self, value: Tensor) -> None:
        """Take the answer as it stands, (1, answer) ids."""
        self.on_draft(self._text(value))

    def end(self) -> None:
        """Be ready for the next prompt."""
        self.asked = False

    def _text(self, value: Tensor) -> str:
        if value.ndim == 2 and len(value) > 1:
            raise ValueError(f"a streamer tells one answer, but {len(value)} are denoised together; ask one question")
        ids = value.flatten().tolist()
        ids = ids[: next((place for place, token in enumerate(ids) if token in self.ends), len(ids))]
        pieces = ((is_mask, list(run)) for is_mask, run in groupby(ids, key=lambda token: token == self.mask_id))
        return "".join(
            self.mask * len(run) if is_mask else str(self.tokenizer.decode(run, skip_special_tokens=True))
            for is_mask, run in pieces
        )
