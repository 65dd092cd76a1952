"""How answers are denoised, as transformers stores it: ``generation_config.json``."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from transformers import GenerationConfig

from llava.inference.decoding import DECODING
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.model.language_model.lavida import drop_unused_settings

_DIFFUSION = tuple(field.name for field in fields(DecodingConfig))
SAMPLING = ("top_p", "top_k")
"""Settings that some backbones have and others refuse: a model's ``sampling_settings`` says which."""
_SHARED = ("max_new_tokens", "temperature", *SAMPLING)
"""Names that autoregressive decoding has too."""
_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
_METADATA = ("_from_model_config", "_commit_hash", "_original_object_hash", "transformers_version")
_PLANS = ("steps", "step_ratio", "step_per_block", "schedule", "lookahead")
"""Settings that plan what a threshold decides step by step."""


class LavidaGenerationConfig(GenerationConfig):
    """The settings of ``DecodingConfig`` under the same names, beside ``return_dict_in_generate`` and special ids.

    What is not given is that of the ``fast`` way of denoising; a setting that plans steps (``steps``, ``schedule``,
    ...) takes the place of its ``threshold``. Settings of autoregressive decoding do not exist here, but ``top_p`` and
    ``top_k`` do for the backbones that have them (Dream); the others refuse them when they generate. The special ids
    are kept for others to read: the model's own are in its config.

    Raises:
        ValueError: for a setting that does not exist, or settings that exclude each other.
    """

    def __init__(self, **settings: Any) -> None:
        # Without super().__init__, which would add what has no meaning here.
        ids = {name: settings.pop(name, None) for name in _IDS}
        settings = drop_unused_settings(settings, keep=SAMPLING)
        if settings.get("top_k") == 0:
            settings["top_k"] = None  # transformers' way to say so
        for name in _METADATA:
            settings.pop(name, None)
        for name in _DIFFUSION:
            setattr(self, name, getattr(DECODING, name))
        if any(settings.get(name) for name in _PLANS):
            self.threshold = None
        self.return_dict_in_generate = True
        for name in ids:
            setattr(self, name, ids[name])
        for name in settings:
            if name not in self.names():
                raise ValueError(
                    f"{name} is no setting of masked diffusion, which has {', '.join(_DIFFUSION)}; leave it out"
                )
            setattr(self, name, settings[name])
        self.validate()

    @classmethod
    def from_decoding(cls, decoding: DecodingConfig, **settings: Any) -> "LavidaGenerationConfig":
        """The same settings: ``from_decoding(find_decoding("exact"))``."""
        return cls(**vars(decoding), **settings)

    @classmethod
    def from_model_config(cls, model_config: object) -> "LavidaGenerationConfig":
        """The defaults: a model's config says nothing about denoising."""
        return cls()

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """All settings."""
        return (*_DIFFUSION, "return_dict_in_generate", *_IDS)

    @staticmethod
    def is_diffusion(settings: Mapping[str, Any]) -> bool:
        """Whether settings from elsewhere were meant for masked diffusion."""
        return any(name in settings for name in _DIFFUSION if name not in _SHARED)

    @property
    def decoding(self) -> DecodingConfig:
        """The settings as the denoiser takes them.

        Raises:
            ValueError: if they exclude each other.
        """
        return DecodingConfig(**{name: getattr(self, name) for name in _DIFFUSION})

    def validate(self, strict: bool = False, user_set_attributes: set[str] | None = None) -> None:
        """Refuse settings that exclude each other, whoever set them."""
        _ = self.decoding

    def changed(self, settings: Mapping[str, Any]) -> "LavidaGenerationConfig":
        """These settings with others in their place, by the rule of the class."""
        own = {name: getattr(self, name) for name in self.names()}
        if any(settings.get(name) for name in _PLANS):
            own["threshold"] = None
        if settings.get("threshold") is not None:
            own |= dict.fromkeys(_PLANS) | {"lookahead": 0}
        return type(self)(**{**own, **settings})

    def to_diff_dict(self) -> dict[str, Any]:
        """All settings: what is left out would be read as a default of another kind of model."""
        settings = self.to_dict()
        return {name: settings[name] for name in (*self.names(), "transformers_version")}
