"""``generate`` as transformers' users call it: a prompt with pictures in, an output with sequences out.

Axis names: batch (prompts), length (ids of a prompt, padded), answer (positions to fill), images (of all prompts).
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig
from transformers.generation.streamers import BaseStreamer
from transformers.utils.generic import ModelOutput

from llava.hf.generation_config import SAMPLING, LavidaGenerationConfig
from llava.hf.views import Sizes, unpad_views
from llava.model.language_model.diffusion.progress import DenoisingStep, Progress
from llava.model.language_model.lavida import LavidaForMaskedDiffusion, drop_unused_settings
from llava.question import Question

GENERATION_FILE = "generation_config.json"


@dataclass
class LavidaGenerationOutput(ModelOutput):
    """What ``generate`` gives; each row is what it would be in a batch of its own."""

    sequences: Tensor | None = None
    """(batch, length + answer) ids: the prompt as it was given, and the answer behind it."""
    tokens_per_forward: Tensor | None = None
    """(batch,) float32: positions that were denoised and are told, the end of turn included, over ``forwards``."""
    forwards: Tensor | None = None
    """(batch,) int64: passes through the language model, the prompt's not counted."""
    confidence: Tensor | None = None
    """(batch,) float32, from 0 to 1: the probability of the least sure token when it was settled."""
    settled_in: Tensor | None = None
    """(batch, answer) int64: the step in which each position was settled, counted from 1; 0 where no step did."""


class GeneratingLavida(LavidaForMaskedDiffusion):
    """Gives a LaViDa model transformers' ``generate`` and its generation config."""

    generation_config: LavidaGenerationConfig
    generation_config_class = LavidaGenerationConfig

    @classmethod
    def can_generate(cls) -> bool:
        """True: transformers then keeps a ``generation_config`` on the model, and stores it with it."""
        return True

    def adjust_generation_fn(
        self,
        generation_config: GenerationConfig | None,
        from_auto_class: bool,
        from_pipeline: str | None,
        pretrained_model_name_or_path: str | Path,
        *_: Any,
        **__: Any,
    ) -> None:
        """Called by transformers' loading: take the settings given, else those in ``generation_config.json``.

        A file that says nothing about denoising, as autoregressive models have it, is left alone.

        Raises:
            ValueError: if the file is broken, or holds a setting that does not exist.
        """
        if generation_config is not None:
            self.generation_config = as_diffusion(generation_config)
            return
        directory = Path(pretrained_model_name_or_path)
        if not (directory / GENERATION_FILE).is_file():
            return
        try:
            settings = json.loads((directory / GENERATION_FILE).read_text(encoding="utf-8"))
            if LavidaGenerationConfig.is_diffusion(settings):
                self.generation_config = self._checked(LavidaGenerationConfig(**settings))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{directory / GENERATION_FILE}: {error}") from error

    @torch.no_grad()
    def generate(  # type: ignore[override]
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_sizes: Sizes | None = None,
        generation_config: GenerationConfig | None = None,
        streamer: BaseStreamer | None = None,
        questions: Sequence[Question | None] | None = None,
        draft_tokens: Tensor | None = None,
        generator: torch.Generator | None = None,
        on_step: Callable[[DenoisingStep], None] | None = None,
        **settings: Any,
    ) -> LavidaGenerationOutput | Tensor:
        """Answers to prompts: an output, or the sequences alone with ``return_dict_in_generate=False``.

        Args:
            input_ids: (batch, length) as the processor writes them, padded at either end; -200 stands for an image.
            attention_mask: (batch, length), 0 on padding; told from end-of-text at the ends when not given.
            pixel_values: (images, views, 3, side, side) in the order of the placeholders.
            image_sizes: (images, 2) widths and heights of the original pictures.
            generation_config: settings instead of the model's own; ``settings`` change single ones of either.
            streamer: told the prompt, the answer after every forward if it has ``put_draft``, and the answer.
            questions: one per image, for question-conditioned token selection; cut out of the prompt when not given.
            draft_tokens: (batch, at most answer) ids with masks where tokens are wanted: infilling.
            generator: of what is drawn at random; the global one when not given.

        Raises:
            ValueError: for settings that do not exist or exclude each other, or if prompts, pictures and context do not
                fit each other.
        """
        config = self.generation_config if generation_config is None else as_diffusion(generation_config)
        config = self._checked(config.changed(settings))
        ids = torch.atleast_2d(input_ids)
        if attention_mask is None:
            attention_mask = torch.stack(self._find_padding(ids.cpu()))
        images, sizes = unpad_views(self, pixel_values, image_sizes)
        prepared = self.prepare_inputs(ids, attention_mask, images, sizes, questions)
        watchers = [watcher for watcher in (on_step, _watcher(streamer)) if watcher is not None]

        def observe(step: DenoisingStep) -> None:
            for watcher in watchers:
                watcher(step)

        if streamer is not None:
            # Tokenizers do not know the id of an image.
            streamer.put(ids[ids >= 0].cpu() if len(ids) == 1 else ids.cpu())
        done = self.denoise(
            prepared,
            config.decoding,
            draft_tokens=draft_tokens,
            generator=generator,
            on_step=observe if watchers else None,
        )
        told = self._told(done.tokens)
        if streamer is not None:
            streamer.put(done.tokens[0, : int(told[0])].cpu() if len(ids) == 1 else done.tokens.cpu())
            streamer.end()
        sequences = torch.cat([ids, done.tokens.to(ids.device)], dim=1)
        if not config.return_dict_in_generate:
            return sequences
        return _output(sequences, done, told, draft_tokens, self.config.mask_token_id)

    def _checked(self, config: LavidaGenerationConfig) -> LavidaGenerationConfig:
        """The settings, once none of them is one that only other backbones have."""
        drop_unused_settings({name: getattr(config, name) for name in SAMPLING}, keep=self.sampling_settings)
        return config

    def _told(self, tokens: Tensor) -> Tensor:
        """(batch,) positions up to the first end of turn, which counts."""
        eos = self.config.eos_token_id
        ends = torch.tensor([self.config.eot_token_id, *([eos] if isinstance(eos, int) else eos or ())])
        is_end = torch.isin(tokens, ends.to(tokens.device))
        return torch.where(is_end.any(1), is_end.int().argmax(1) + 1, tokens.shape[1])


def as_diffusion(config: GenerationConfig) -> LavidaGenerationConfig:
    """Settings as masked diffusion has them, whoever they were written for.

    Raises:
        ValueError: if one of them has no meaning here.
    """
    if isinstance(config, LavidaGenerationConfig):
        return config
    return LavidaGenerationConfig(**{name: value for name, value in config.to_diff_dict().items() if value is not None})


def _watcher(streamer: BaseStreamer | None) -> Callable[[DenoisingStep], None] | None:
    put_draft = getattr(streamer, "put_draft", None)
    return None if put_draft is None else lambda step: put_draft(step.tokens.cpu())


def _output(
    sequences: Tensor, done: Progress, told: Tensor, draft_tokens: Tensor | None, mask_id: int
) -> LavidaGenerationOutput:
    is_told = torch.arange(done.tokens.shape[1], device=told.device) < told[:, None]
    filled = is_told
    if draft_tokens is not None:
        filled = is_told.clone()
        length = draft_tokens.shape[1]
        filled[:, :length] &= draft_tokens.to(told.device) == mask_id
    return LavidaGenerationOutput(
        sequences=sequences,
        tokens_per_forward=filled.sum(1) / done.forwards.clamp(min=1),
        forwards=done.forwards,
        confidence=done.probabilities.masked_fill(~is_told, torch.inf).amin(1),
        settled_in=done.settled_in,
    )
