"""LaViDa around a backbone: the model that checkpoints load into, whichever language model they hold."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from llava.constants import IGNORE_INDEX, IMAGE_TOKEN_INDEX
from llava.model.language_model.backbone import Backbone
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.model.language_model.diffusion.generate import denoise
from llava.model.language_model.diffusion.kept_steps import KeptSteps
from llava.model.language_model.diffusion.progress import DenoisingStep, Progress
from llava.model.language_model.lavida_config import LavidaConfig
from llava.model.llava_arch import LlavaMetaForCausalLM, LlavaMetaModel
from llava.model.splice import PromptEmbeds
from llava.model.weight_files import SHIRG_PREFIX
from llava.question import PromptIds, Question
from shirg.transfer import to_device

_VISION_FIELDS = (
    "model_type",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_channels",
    "image_size",
    "patch_size",
    "hidden_act",
    "layer_norm_eps",
    "attention_dropout",
    "stem_channels",
    "stem_overlap",
    "gathered_dim",
)


class LavidaModel(Backbone, LlavaMetaModel):
    """A backbone with LaViDa's vision modules beside it."""


class LavidaForMaskedDiffusion(PreTrainedModel, LlavaMetaForCausalLM):
    """The whole model, from ids and pixel views to logits or denoised answers, around any backbone."""

    model_class: ClassVar[type[LavidaModel]]
    """The backbone with LaViDa's vision modules beside it."""
    sampling_settings: ClassVar[Sequence[str]] = ()
    """Of ``top_p`` and ``top_k``, those that the backbone's public sampler has; ``generate`` refuses the others."""
    base_model_prefix = "model"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _keys_to_ignore_on_load_unexpected = (r"^shirg_x\.",)

    def __init__(self, config: LavidaConfig) -> None:
        super().__init__(config)
        self.model = self.model_class(config)
        self.add_outer_modules()
        vision = self.model.vision_tower.config
        config.mm_vision_config = {name: getattr(vision, name) for name in _VISION_FIELDS if hasattr(vision, name)}
        self.prompt_ids = PromptIds.from_config(config)
        self.kept_shirg_x: dict[str, Tensor] = {}
        """SHIRG-X's tensors that came with the checkpoint and that no live patch uses, by their names in its module."""
        self.kept_steps = KeptSteps()
        self.full_precision = True
        """Whether no weights were rounded for the sake of memory; what was cannot be saved for what it came from."""
        self.post_init()

    def add_outer_modules(self) -> None:
        """Build what a backbone's checkpoints keep beside ``model``, such as the output head; here nothing."""

    def _init_weights(self, module: nn.Module) -> None:
        std = self.config.initializer_range
        if isinstance(module, nn.Linear | nn.Embedding | nn.Conv2d):
            nn.init.normal_(module.weight, std=std)
        elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
            nn.init.ones_(module.weight)
        if isinstance(bias := getattr(module, "bias", None), nn.Parameter):
            nn.init.zeros_(bias)

    def get_model(self) -> LavidaModel:
        return self.model

    def get_input_embeddings(self) -> nn.Module:
        return self.model.embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.set_embedding(value)

    def get_output_embeddings(self) -> nn.Module | None:
        """The output head; None where the embedding serves as one."""
        return self.model.head

    def set_output_embeddings(self, value: nn.Module) -> None:
        self.model.set_head(value)

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> nn.Module:
        """transformers' way to give added tokens their rows, in the embedding and in the output head.

        Raises:
            RuntimeError: if SHIRG-X is applied, whose removal would bring back the sizes of before.
        """
        if "shirg_x" in self._modules:
            raise RuntimeError(
                "SHIRG-X is applied to this model; remove() it, resize the embeddings, and apply it again"
            )
        embedding = super().resize_token_embeddings(*args, **kwargs)
        self.config.resize_vocabulary(self.model.head_weight.shape[0])
        return embedding

    def prepare_inputs(
        self,
        input_ids: Tensor | Sequence[Tensor],
        attention_mask: Tensor | None = None,
        images: Sequence[Tensor] | Tensor | None = None,
        image_sizes: Sequence[tuple[int, int]] | None = None,
        questions: Sequence[Question | None] | None = None,
        labels: Tensor | None = None,
    ) -> PromptEmbeds:
        """Embedded prompts of a batch.

        Without ``attention_mask``, unlabeled end-of-text at either end of a row is taken for padding where
        ``input_ids`` is one tensor of several rows; a list of prompts has none.

        Raises:
            ValueError: if images and placeholders do not pair up, or ids, masks or labels do not fit.
        """
        rows, keep = self._rows_on_host(input_ids, attention_mask, labels)
        prompts = [ids[mask] for ids, mask in zip(rows, keep, strict=True)]
        kept_labels = None
        if labels is not None:
            kept_labels = [to_device(row.cpu()[mask], self.device) for row, mask in zip(labels, keep, strict=True)]
        views = [] if images is None else [view[None] if view.ndim == 3 else view for view in images]
        return self.embed_prompts(prompts, views, image_sizes, questions, kept_labels)

    def _rows_on_host(
        self, input_ids: Tensor | Sequence[Tensor], attention_mask: Tensor | None, labels: Tensor | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Ids of each prompt, and True on its real positions; where images go is decided on the host."""
        if isinstance(input_ids, Tensor) and input_ids.ndim == 1:
            input_ids = input_ids[None]
        rows = [ids.cpu() for ids in input_ids]
        if not rows or not all(len(ids) for ids in rows):
            raise ValueError("there is no prompt to answer, or an empty one; give token ids")
        for name, others in (("attention_mask", attention_mask), ("labels", labels)):
            if others is not None and [len(other) for other in others] != [len(ids) for ids in rows]:
                raise ValueError(f"{name} must have one value for each id, in rows of {[len(ids) for ids in rows]}")
        for ids in rows:
            self.check_ids(ids[ids != IMAGE_TOKEN_INDEX], "the prompt")
        if attention_mask is not None:
            return rows, [mask.bool().cpu() for mask in attention_mask]
        if len(rows) == 1 or not isinstance(input_ids, Tensor):
            return rows, [torch.ones_like(ids, dtype=torch.bool) for ids in rows]
        return rows, self._find_padding(rows, labels)

    def _find_padding(self, rows: Sequence[Tensor], labels: Tensor | None = None) -> list[Tensor]:
        """False on unlabeled end-of-text at either end of each row."""
        pad = self.config.pad_token_id
        real = [torch.ones_like(ids, dtype=torch.bool) if pad is None else ids != pad for ids in rows]
        if labels is not None:
            real = [mask | (row.cpu() != IGNORE_INDEX) for mask, row in zip(real, labels, strict=True)]
        if not all(mask.any() for mask in real):
            raise ValueError("there is no prompt to answer: a row of input_ids is all padding")
        return [(mask.cumsum(0) > 0) & (mask.flip(0).cumsum(0).flip(0) > 0) for mask in real]

    def check_ids(self, ids: Tensor, what: str) -> None:
        """Refuse ids that have no embedding: on a GPU, looking them up would end the process.

        Raises:
            ValueError: naming the first such id.
        """
        num_rows = self.config.vocab_rows
        wrong = ids[(ids < 0) | (ids >= num_rows)]
        if len(wrong):
            raise ValueError(f"{what} holds id {int(wrong[0])}, but this model's ids run from 0 to {num_rows - 1}")

    def forward(
        self,
        input_ids: Tensor | Sequence[Tensor] | None = None,
        attention_mask: Tensor | None = None,
        images: Sequence[Tensor] | Tensor | None = None,
        image_sizes: Sequence[tuple[int, int]] | None = None,
        questions: Sequence[Question | None] | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> CausalLMOutput:
        """Logits (batch, length, vocab) with full attention between all real positions.

        Pass ids with images, or embeddings; ``attention_mask`` belongs to the one that is passed.
        """
        if input_ids is not None and inputs_embeds is None:
            prepared = self.prepare_inputs(input_ids, attention_mask, images, image_sizes, questions)
            inputs_embeds, attention_mask = prepared.embeds, prepared.attention_mask
        elif inputs_embeds is None or input_ids is not None:
            raise ValueError("pass either input_ids or inputs_embeds")
        self.check_context(inputs_embeds.shape[1], 0)
        return CausalLMOutput(logits=self.model.compute_logits(self.model(inputs_embeds, attention_mask)))

    @torch.no_grad()
    def generate(
        self,
        inputs: Tensor | Sequence[Tensor],
        images: Sequence[Tensor] | Tensor | None = None,
        image_sizes: Sequence[tuple[int, int]] | None = None,
        modalities: Sequence[str] | None = None,
        *,
        questions: Sequence[Question | None] | None = None,
        attention_mask: Tensor | None = None,
        draft_tokens: Tensor | None = None,
        mask_id: int | None = None,
        generator: torch.Generator | None = None,
        verbose: bool = False,
        on_step: Callable[[DenoisingStep], None] | None = None,
        decoding: DecodingConfig | None = None,
        **settings: Any,
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """Answer ids (batch, max_new_tokens); with ``verbose`` also the ids after every forward, on the CPU.

        Args:
            inputs: prompt ids (batch, length) or a list of (length,); -200 stands for an image.
            images: pixel views of every image, in the order of the placeholders.
            image_sizes: (width, height) of each original image.
            modalities: accepted for LaViDa's callers, who pass ``["image"]``.
            questions: one per image, for question-conditioned token selection; cut out of the prompt when not given.
            draft_tokens: (batch, at most max_new_tokens) ids with masks where tokens are wanted: infilling.
            decoding: settings as one object, or give its fields as keywords (LaViDa's way), or under the names of the
                backbone's public code.

        Raises:
            ValueError: for settings that do not fit, or if prompt, images and answer exceed the context.
        """
        if decoding is None:
            decoding = self.decoding_of(settings)
        elif given := drop_unused_settings(settings):
            raise ValueError(f"give decoding settings once: as decoding=, or as {', '.join(sorted(given))}")
        if attention_mask is None and isinstance(inputs, Tensor) and inputs.numel():
            # One row too: a prompt is the same whoever it was padded with.
            attention_mask = torch.stack(self._find_padding(torch.atleast_2d(inputs).cpu()))
        prepared = self.prepare_inputs(inputs, attention_mask, images, image_sizes, questions)
        history: list[Tensor] = []

        def observe(step: DenoisingStep) -> None:
            if verbose:
                history.append(step.tokens.to("cpu", copy=True))
            if on_step is not None:
                on_step(step)

        tokens = self.denoise(
            prepared,
            decoding,
            draft_tokens=draft_tokens,
            mask_id=mask_id,
            generator=generator,
            on_step=observe if verbose or on_step is not None else None,
        ).tokens
        return (tokens, history) if verbose else tokens

    def decoding_of(self, settings: Mapping[str, Any]) -> DecodingConfig:
        """What the keywords of ``generate`` ask for: fields of ``DecodingConfig``, unless a backbone's public code has
        names of its own.

        Raises:
            ValueError, TypeError: for settings that do not fit or do not exist.
        """
        return DecodingConfig(**drop_unused_settings(settings, keep=self.sampling_settings))

    @torch.no_grad()
    def denoise(
        self,
        prepared: PromptEmbeds,
        decoding: DecodingConfig,
        *,
        draft_tokens: Tensor | None = None,
        mask_id: int | None = None,
        generator: torch.Generator | None = None,
        on_step: Callable[[DenoisingStep], None] | None = None,
    ) -> Progress:
        """As ``generate``, from prompts that are already embedded: the answers, and how they came about.

        Raises:
            ValueError: as ``generate``, and if what comes out is no number.
        """
        self.check_context(max(prepared.lengths), decoding.max_new_tokens)
        if draft_tokens is not None:
            self.check_ids(draft_tokens.flatten().cpu(), "the draft")
        eos = self.config.eos_token_id
        ends = [eos] if isinstance(eos, int) else list(eos or ())
        done = denoise(
            self.model,
            prepared.embeds,
            prepared.lengths,
            decoding,
            mask_id=self.config.mask_token_id if mask_id is None else mask_id,
            stop_ids=(self.config.eot_token_id, *ends),
            fill_id=ends[0] if ends else self.config.eot_token_id,
            draft_tokens=draft_tokens,
            generator=generator,
            on_step=on_step,
            kept_steps=self.kept_steps,
        )
        if not done.probabilities.isfinite().all():
            raise ValueError(
                f"the model's probabilities are no numbers (NaN) in {str(self.dtype).removeprefix('torch.')}; load it "
                "in float32 or bfloat16, or look for what is wrong with its weights"
            )
        return done

    def check_context(self, prompt: int, answer: int) -> None:
        """Refuse a prompt and an answer of so many positions if they exceed the context.

        Raises:
            ValueError: giving the three lengths.
        """
        limit = self.config.max_sequence_length
        if prompt + answer > limit:
            raise ValueError(
                f"prompt and images take {prompt} positions and the answer {answer}, more than the {limit} of this "
                "model; shorten the question or the answer, or keep fewer image tokens"
            )

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Write the model under the released names, SHIRG-X's weights among them whether it is applied or not; a
        relative ``mm_vision_tower`` is kept pointing where it points.

        Raises:
            ValueError: if weights were rounded to int8, which is no form of a checkpoint.
        """
        if not self.full_precision:
            raise ValueError(
                "this model's weights were rounded to int8, and a checkpoint holds them in full; save the model as it "
                "was loaded, without int8"
            )
        if self.kept_shirg_x:
            kept = {f"{SHIRG_PREFIX}{name}": tensor for name, tensor in self.kept_shirg_x.items()}
            kwargs["state_dict"] = {**kept, **(kwargs.get("state_dict") or self.state_dict())}
        name, source = self.config.mm_vision_tower, self.config.name_or_path
        if name and source and (Path(source) / name).is_dir():
            self.config.mm_vision_tower = os.path.relpath(Path(source) / name, save_directory)
        try:
            # accelerate imports DeepSpeed where it is installed, and DeepSpeed reports that on stdout.
            with redirect_stdout(sys.stderr):
                super().save_pretrained(save_directory, **kwargs)
        finally:
            self.config.mm_vision_tower = name


_IDLE_SETTINGS: dict[str, tuple[Any, ...]] = {
    "do_sample": (False, None),
    "num_beams": (1, None),
    "top_p": (1, 1.0, None),
    "top_k": (0, None),
    "stopping_criteria": ([], None),
    "position_ids": (None,),
}
_IGNORED_SETTINGS = ("tokenizer", "use_cache", "pad_token_id")


def drop_unused_settings(settings: Mapping[str, Any], *, keep: Sequence[str] = ()) -> dict[str, Any]:
    """The settings without what LLaVA's callers pass along and ask nothing by.

    Args:
        keep: names that mean something to the model.

    Raises:
        ValueError: if such a setting asks for something that masked diffusion does not have.
    """
    left = {name: value for name, value in settings.items() if name not in _IGNORED_SETTINGS}
    for name, idle in _IDLE_SETTINGS.items():
        if name not in keep and left.pop(name, None) not in idle:
            raise ValueError(f"{name} does not exist in masked-diffusion decoding; sample with temperature > 0")
    return left
