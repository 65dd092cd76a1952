"""What a model is made of, resolved once and before any weight is read: checkpoint, adapter and SHIRG-X's settings.

Resolving imports neither torch nor transformers, so that whoever mistypes a path need not wait for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llava.model.config_file import read_config, read_config_file
from llava.model.hub import BUNDLED, resolve_directory
from llava.tuning.settings import AdapterSettings
from shirg.config import ShirgXConfig
from shirg.tiling import PageViews

if TYPE_CHECKING:
    from llava.model.language_model.lavida_config import LavidaConfig

BUNDLED_MODEL = BUNDLED
SIGLIP_PATCH = 14
"""Pixels along a patch of SigLIP-so400m."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A checkpoint, an adapter on top of it, and how the two together encode images."""

    model: str
    """A directory or a name on the hub."""
    revision: str | None
    """Branch, tag or commit on the hub."""
    directory: Path
    """Where its files are; of a hub repository, only the JSON files until it is loaded."""
    entries: Mapping[str, Any]
    """Its ``config.json`` as it is written."""
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
    ) -> Checkpoint:
        """Read the checkpoint's config and the adapter's settings; of a hub repository only JSON files are fetched.

        Args:
            settings: SHIRG-X's, or a YAML file with them; else the adapter's, the checkpoint's, or the defaults.
            changes: single settings on top of those.

        Raises:
            FileNotFoundError: if there is no such checkpoint, adapter or file of settings.
            ValueError: if one of them is broken, or they contradict each other.
        """
        trained = None if adapter is None else AdapterSettings.read(adapter)
        directory = _settings_directory(model, revision)
        checkpoint = cls(
            model=str(model),
            revision=revision,
            directory=directory,
            entries=read_config_file(directory),
            adapter=trained,
            shirg=ShirgXConfig(),
        )
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
            return ShirgXConfig.from_dict(self.entries.get("shirg_x") or {})
        except (ValueError, TypeError) as error:
            raise ValueError(f"{self.directory}/config.json, shirg_x: {error}") from error

    @cached_property
    def config(self) -> LavidaConfig:
        """The checked config of the checkpoint.

        Raises:
            ValueError: if an entry has the wrong type or value.
        """
        return read_config(self.directory, {})

    @property
    def page_style(self) -> str | None:
        """The style of drawn pages that the checkpoint was trained on, where it says so."""
        style = self.entries.get("page_style")
        return style if isinstance(style, str) else None

    @property
    def page_views(self) -> PageViews | None:
        """The views that SHIRG-X makes of a page, as far as the JSON files tell; None for LaViDa's own encoding."""
        if self.shirg.mode == "stock":
            return None
        vision = self.entries.get("mm_vision_config") or {}
        return self.shirg.views(vision.get("patch_size", SIGLIP_PATCH))

    def encoding(self, shirg: ShirgXConfig) -> Checkpoint:
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


def read_checkpoint_config(model: str | Path, revision: str | None = None) -> LavidaConfig:
    """The config of a checkpoint; of a hub repository, only JSON files are fetched.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if it is not LaViDa's.
    """
    return read_config(_settings_directory(model, revision), {})


def _settings_directory(model: str | Path, revision: str | None) -> Path:
    return resolve_directory(model, revision=revision, allow_patterns=("*.json",))


def vision_kwargs(shirg: ShirgXConfig | None) -> dict[str, bool]:
    """What to load a vision tower with: all layers, LaViDa's missing ones too, where the similarity reads them."""
    return {"keep_all_layers": True} if shirg is not None and shirg.reads_left_out_layers else {}
