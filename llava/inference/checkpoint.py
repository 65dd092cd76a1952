"""What a model is made of, resolved once and before any weight is read: checkpoint, adapter and SHIRG-X's settings."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lavida_shirg_integration import ShirgXHandle, apply_shirg_x
from llava.constants import ASSETS
from llava.model.builder import Loaded, load_pretrained_model, read_config
from llava.model.hub import resolve_directory
from llava.model.language_model.lavida_config import LavidaConfig
from llava.tuning.adapter import AdapterSettings, load_adapter
from shirg.config import ShirgXConfig

BUNDLED_MODEL = ASSETS / "lavida-small"


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A checkpoint, an adapter on top of it, and how the two together encode images."""

    model: str
    """A directory or a name on the hub."""
    revision: str | None
    """Branch, tag or commit on the hub."""
    config: LavidaConfig
    adapter: AdapterSettings | None
    shirg: ShirgXConfig
    """``mode: stock`` is LaViDa's own encoding."""

    @classmethod
    def resolve(
        cls,
        model: str | Path = BUNDLED_MODEL,
        *,
        revision: str | None = None,
        adapter: str | Path | None = None,
        settings: ShirgXConfig | str | Path | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> "Checkpoint":
        """Read the checkpoint's config and the adapter's settings; of a hub repository only JSON files are fetched.

        Args:
            settings: SHIRG-X's, or a YAML file with them; else the adapter's, the checkpoint's, or the defaults.
            changes: single settings on top of those.

        Raises:
            FileNotFoundError: if there is no such checkpoint, adapter or file of settings.
            ValueError: if one of them is broken, or they contradict each other.
        """
        trained = None if adapter is None else AdapterSettings.read(adapter)
        config = read_checkpoint_config(model, revision)
        checkpoint = cls(model=str(model), revision=revision, config=config, adapter=trained, shirg=ShirgXConfig())
        changed = dict(changes or {})
        if changed.get("mode") == "stock":
            return checkpoint.encoding(ShirgXConfig.from_dict(changed))
        return checkpoint.encoding(checkpoint._settings(settings).replace(**changed))

    def _settings(self, given: ShirgXConfig | str | Path | None) -> ShirgXConfig:
        if isinstance(given, ShirgXConfig):
            return given
        if given is not None:
            return ShirgXConfig.from_yaml(given)
        if self.adapter is not None and self.adapter.shirg_x is not None:
            return self.adapter.shirg_x
        try:
            return ShirgXConfig.from_dict(self.config.shirg_x or {})
        except ValueError as error:
            raise ValueError(f"{self.config.name_or_path}/config.json, shirg_x: {error}") from error

    def encoding(self, shirg: ShirgXConfig) -> "Checkpoint":
        """The same checkpoint with other settings of SHIRG-X.

        Raises:
            ValueError: if the adapter was trained with SHIRG-X and they say ``mode: stock``.
        """
        if self.adapter is not None:
            self.adapter.choose_shirg(shirg)
        return replace(self, shirg=shirg)

    @property
    def names(self) -> dict[str, str | None]:
        """What the model is called, for people and records."""
        directory = None if self.adapter is None else str(self.adapter.directory)
        return {"model": self.model, "revision": self.revision, "adapter": directory}

    def load(self, *, device: str = "auto", dtype: str = "auto") -> tuple[Loaded, ShirgXHandle | None]:
        """The loaded model with its adapter merged, and SHIRG-X's handle; None for LaViDa's own encoding.

        Raises:
            FileNotFoundError, ValueError: as ``load_pretrained_model``, ``apply_shirg_x`` and ``load_adapter``.
        """
        loaded = load_pretrained_model(
            self.model,
            device_map=device,
            torch_dtype=dtype,
            revision=self.revision,
            vision_kwargs=vision_kwargs(self.shirg),
        )
        tokenizer, model, _, _ = loaded
        if self.adapter is not None:
            return loaded, load_adapter(
                model, self.adapter.directory, merge=True, shirg_x=self.shirg, tokenizer=tokenizer
            )
        return loaded, None if self.shirg.mode == "stock" else apply_shirg_x(model, self.shirg, tokenizer=tokenizer)


def read_checkpoint_config(model: str | Path, revision: str | None = None) -> LavidaConfig:
    """The config of a checkpoint; of a hub repository, only JSON files are fetched.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if it is not LaViDa's.
    """
    return read_config(resolve_directory(model, revision=revision, allow_patterns=("*.json",)), {})


def vision_kwargs(shirg: ShirgXConfig | None) -> dict[str, bool]:
    """What to load a vision tower with: all layers, LaViDa's missing ones too, where the similarity reads them."""
    return {"keep_all_layers": True} if shirg is not None and shirg.reads_left_out_layers else {}
