"""LaViDa's own settings beside those of the language model that it is built around."""

from collections.abc import Mapping
from typing import Any, ClassVar

from transformers import PretrainedConfig

from llava.conversation import Conversation
from llava.mm_utils import parse_pinpoints
from llava.model.anyres import POOL_MODES

_CHOICES = {
    "mm_patch_merge_type": ("spatial_unpad", "flat", None),
    "mm_spatial_pool_mode": POOL_MODES,
    "mm_keep_all_layers": (True, False),
}


class LavidaConfig(PretrainedConfig):
    """LaViDa's vision entries; other entries of a checkpoint are kept as they are. Backbones add theirs."""

    conversation: ClassVar[Conversation]
    """The template of prompts that the backbone was trained on; copy it before adding turns."""
    special_words: ClassVar[Mapping[str, str]]
    """By their names here, the words whose ids a tokenizer can tell where ``config.json`` does not."""
    tensor_names: ClassVar[Mapping[str, str]]
    """Beginnings of the names of what ``embeddings`` and ``output head`` hold; the same where the embedding is both."""

    mm_vision_tower: str | None = "google/siglip-so400m-patch14-384"
    mm_vision_config: dict | None = None
    """SigLIP's vision configuration; read from ``mm_vision_tower`` when the checkpoint does not hold it."""
    mm_vision_select_layer: int = -2
    mm_keep_all_layers: bool = False
    """Keep the vision layers that LaViDa removes; they serve token scoring."""
    mm_hidden_size: int = 1152
    mm_projector_type: str = "mlp2x_gelu"
    mm_patch_merge_type: str | None = "spatial_unpad"
    mm_spatial_pool_mode: str = "bilinear"
    mm_pooler_ratio: int = 2
    image_aspect_ratio: str | None = "anyres"
    image_grid_pinpoints: str | list = "[(384, 768), (768, 384), (768, 768), (1152, 384), (384, 1152)]"
    unsure_below: float = 0.5
    """Confidence of an answer below which most are wrong; ``scripts/fit_confidence.py`` finds it for a model."""
    shirg_x: dict | None = None
    """Settings of SHIRG-X that the checkpoint was saved with; applied by ``apply_shirg_x`` only."""

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        for name in ("mm_hidden_size", "mm_pooler_ratio"):
            check_count(self, name)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"config: {name}={getattr(self, name)!r} does not exist; use one of {choices}")
        limit = self.unsure_below
        if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 <= limit <= 1:
            raise ValueError(f"config: unsure_below must lie from 0 to 1, got {limit!r}")
        if type(self.mm_vision_select_layer) is not int:
            raise ValueError(
                f"config: mm_vision_select_layer must be a whole number, got {self.mm_vision_select_layer!r}"
            )
        for name in ("mm_vision_tower", "mm_projector_type"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"config: {name} must be a text, got {getattr(self, name)!r}")
        if self.image_aspect_ratio == "anyres":
            parse_pinpoints(self.image_grid_pinpoints)

    def to_dict(self) -> dict[str, Any]:
        """What is saved: everything but ``image_view``, which belongs to a live patch."""
        settings = super().to_dict()
        settings.pop("image_view", None)
        return settings

    @property
    def vocab_rows(self) -> int:
        """Rows of the embedding, of which the last may stand for no word."""
        return int(self.vocab_size)

    def resize_vocabulary(self, rows: int) -> None:
        """Take note of an embedding that has other ``rows`` now."""
        self.vocab_size = rows


def check_count(config: PretrainedConfig, name: str, *, least: int = 1) -> None:
    """Refuse a setting that is not a positive whole number, or one of at least 0.

    Raises:
        ValueError: naming the setting and its value.
    """
    value = getattr(config, name)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        wanted = "a positive whole number" if least else "a whole number of at least 0"
        raise ValueError(f"config: {name} must be {wanted}, got {value!r}")


def check_special_ids(config: LavidaConfig) -> None:
    """Refuse special ids that are missing or have no embedding; called once the tokenizer's ids are filled in.

    Raises:
        ValueError: naming the id and the range.
    """
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    for name, value in [
        ("mask_token_id", config.mask_token_id),
        ("eot_token_id", config.eot_token_id),
        *(("eos_token_id", end) for end in ends),
    ]:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < config.vocab_rows:
            raise ValueError(f"config: {name} must be an id from 0 to {config.vocab_rows - 1}, got {value!r}")
