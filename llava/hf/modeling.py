"""LaViDa as ``AutoModelForImageTextToText`` loads it: the same weights, called as transformers' models are.

Axis names: batch (prompts), length (ids of a prompt), images (of all prompts), views, side (pixels), vocab.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerBase
from transformers.modeling_outputs import CausalLMOutput

from lavida_shirg_integration import ShirgXHandle, apply_shirg_x
from llava.constants import IGNORE_INDEX
from llava.hf.directories import drop_idle, take_directory
from llava.hf.generation import GeneratingLavida
from llava.hf.model_card import push_with_card, write_card
from llava.hf.views import Sizes, unpad_views
from llava.model.builder import load_tokenizer, settle_loaded
from llava.model.config_file import read_config
from llava.model.hub import quiet_loading
from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.model.language_model.registry import BACKBONES
from llava.model.weight_files import weight_files
from llava.question import Question
from shirg.config import ShirgXConfig
from shirg.weights import read_settings


class LavidaForConditionalGeneration(GeneratingLavida):
    """What every backbone's model has for transformers; see ``LavidaForMaskedDiffusion`` for what it has anyway."""

    shirg_x_handle: ShirgXHandle | None = None
    """Of SHIRG-X, where ``apply_shirg_x`` or the checkpoint's settings have put it on; its ``remove`` takes it off."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, *arguments: Any, **options: Any) -> Any:
        """A checkpoint's directory or hub repository, with all of ``load_pretrained_model``'s checks.

        SHIRG-X is applied where ``config.json`` has settings of it; ``shirg_x`` gives others, and ``{"mode": "stock"}``
        leaves it off. Other options are transformers' own.

        Raises:
            FileNotFoundError: if there is no such checkpoint, or parts of it are missing.
            ValueError: if it is not a LaViDa checkpoint, or its tensors do not fit.
        """
        directory = take_directory(pretrained_model_name_or_path, options)
        config = options.pop("config", None)
        config = read_config(directory, {}) if config is None else config
        config.name_or_path = str(directory)
        if "shirg_x" in options:
            config.shirg_x = options.pop("shirg_x")
        shirg = None if config.shirg_x is None else ShirgXConfig.from_dict(config.shirg_x)
        if shirg is not None and shirg.reads_left_out_layers:
            config.mm_keep_all_layers = True
        files = weight_files(directory)
        tokenizer = load_tokenizer(directory) if (directory / "tokenizer.json").is_file() else None
        with_info = options.pop("output_loading_info", False)
        fixed = {"use_safetensors": True, "local_files_only": True, "ignore_mismatched_sizes": True}
        with quiet_loading():
            model, info = super().from_pretrained(
                directory, *arguments, config=config, output_loading_info=True, **{**drop_idle(options), **fixed}
            )
        settle_loaded(model, info, directory, files, tokenizer)
        if shirg is not None and shirg.mode != "stock":
            model.apply_shirg_x(shirg, tokenizer=tokenizer)
        return (model, info) if with_info else model

    def apply_shirg_x(
        self,
        config: ShirgXConfig | None = None,
        *,
        weights: str | Path | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ) -> ShirgXHandle:
        """Put SHIRG-X on, as ``lavida_shirg_integration.apply_shirg_x`` does; ``processor.follow(model)`` then makes
        the views that it wants.

        Args:
            config: the settings; those beside ``weights`` when not given, else the checkpoint's.

        Raises:
            RuntimeError, ValueError, FileNotFoundError: as there.
        """
        if config is None and weights is not None and (stored := read_settings(weights)) is not None:
            config = ShirgXConfig.from_dict(stored)
        self.shirg_x_handle = apply_shirg_x(self, config, weights=weights, tokenizer=tokenizer)
        return self.shirg_x_handle

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_sizes: Sizes | None = None,
        labels: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        questions: Sequence[Question | None] | None = None,
        return_dict: bool | None = None,
    ) -> CausalLMOutput | tuple[Tensor, ...]:
        """Logits (batch, positions, vocab) with full attention between all real positions.

        Positions are those of the prompts with their images' tokens in place of the placeholders and without padding,
        which follows where a prompt is shorter than others. Arguments are those of ``generate``.

        Args:
            labels: (batch, length) ids where a token is to be predicted, in its own place and not in the one before,
                and -100 elsewhere; ``loss`` is then their mean cross-entropy. Masking the answer in ``input_ids`` is
                the caller's work; ``lavida train`` does it as LaViDa did.

        Raises:
            ValueError: if not either ids or embeddings are given, or ids, pictures and labels do not fit.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("pass either input_ids or inputs_embeds")
        if input_ids is not None:
            images, sizes = unpad_views(self, pixel_values, image_sizes)
            prepared = self.prepare_inputs(input_ids, attention_mask, images, sizes, questions, labels)
            inputs_embeds, attention_mask, labels = prepared.embeds, prepared.attention_mask, prepared.labels
        assert inputs_embeds is not None
        self.check_context(inputs_embeds.shape[1], 0)
        logits = self.model.compute_logits(self.model(inputs_embeds, attention_mask))
        loss = None
        if labels is not None:
            # In float32: a sum over a vocabulary of 126k loses bfloat16's few digits.
            scores, wanted = logits.flatten(0, 1).float(), labels.flatten().to(logits.device)
            loss = cross_entropy(scores, wanted, ignore_index=IGNORE_INDEX)
        output = CausalLMOutput(loss=loss, logits=logits)
        return output.to_tuple() if return_dict is False else output

    def save_pretrained(self, save_directory: str | os.PathLike, **options: Any) -> None:
        """Write the model, its generation config, and a model card where there is none yet.

        Args:
            options: ``measured`` for the card: results of ``lavida eval``, by their directories; others are
                transformers' own.
        """
        measured = options.pop("measured", ())
        super().save_pretrained(save_directory, **options)
        write_card(Path(save_directory), self.config, measured)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload what ``save_pretrained`` writes; a card that the repository has stays.

        Args:
            options: ``measured``, and those of transformers' ``push_to_hub``.
        """
        return push_with_card(self, repo_id, **options)


def _around(kind: type[LavidaForMaskedDiffusion]) -> type[LavidaForConditionalGeneration]:
    """The class for a backbone's model."""
    name = kind.__name__.replace("ForMaskedDiffusion", "ForConditionalGeneration")
    own = {"__doc__": kind.__doc__, "__module__": __name__, "config_class": kind.config_class}
    return type(name, (LavidaForConditionalGeneration, kind), own)


MODELS: Mapping[str, type[LavidaForConditionalGeneration]] = {
    model_type: _around(entry.resolve()) for model_type, entry in BACKBONES.items()
}
"""By the ``model_type`` of checkpoints, for every backbone."""

LlavaLladaForConditionalGeneration = MODELS["llava_llada"]
