"""Pictures as pixel views: LaViDa's any-resolution views, or those that SHIRG-X wants.

Axis names: images (of all prompts), views (of one image; those with fewer are padded with zeros), side (pixels).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.nn.utils.rnn import pad_sequence
from transformers import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor

from llava.hf.directories import SMALL_FILES, refuse_options, take_directory
from llava.image_io import decode_base64_image
from llava.image_processor import SigLipImageProcessor
from llava.inference.picture import open_picture, pdf_long_side
from llava.mm_utils import process_images
from llava.model.config_file import read_config
from llava.model.language_model.lavida_config import LavidaConfig
from llava.model.multimodal_encoder.builder import vision_config
from shirg.config import ShirgXConfig
from shirg.tiling import PageViews

PROCESSOR_FILE = "processor_config.json"
_MEAN = (0.5, 0.5, 0.5)
_METADATA = ("image_processor_type", "processor_class")


class LavidaImageProcessor(BaseImageProcessor):
    """SigLIP's resizing and normalization of the views that a LaViDa model wants of each picture.

    A model with SHIRG-X wants other views than one without: the settings say which, and ``from_config`` takes them
    from a model's config.

    Raises:
        TypeError: for a setting that does not exist.
        ValueError: for settings of SHIRG-X that are wrong.
    """

    model_input_names = ("pixel_values", "image_sizes")

    def __init__(
        self,
        *,
        size: dict[str, int] | None = None,
        patch_size: int = 14,
        image_mean: Sequence[float] = _MEAN,
        image_std: Sequence[float] = _MEAN,
        image_aspect_ratio: str | None = "anyres",
        image_grid_pinpoints: str | list = LavidaConfig.image_grid_pinpoints,
        shirg_x: dict[str, Any] | None = None,
        **unknown: Any,
    ) -> None:
        refuse_options({name: value for name, value in unknown.items() if name not in _METADATA}, type(self).__name__)
        super().__init__()
        self.size = size or {"height": 384, "width": 384}
        """Of LaViDa's views, in pixels."""
        self.patch_size = patch_size
        self.image_mean, self.image_std = list(image_mean), list(image_std)
        self.image_aspect_ratio = image_aspect_ratio
        self.image_grid_pinpoints = image_grid_pinpoints
        self.shirg_x = shirg_x
        """Settings of SHIRG-X, which then decide about views; None for LaViDa's own."""
        _ = self.image_view

    @classmethod
    def from_config(cls, config: LavidaConfig, *, shirg_x: dict[str, Any] | None = None) -> "LavidaImageProcessor":
        """What a model of this config wants, with these settings of SHIRG-X."""
        vision = vision_config(config)
        return cls(
            size={"height": vision.image_size, "width": vision.image_size},
            patch_size=vision.patch_size,
            image_aspect_ratio=config.image_aspect_ratio,
            image_grid_pinpoints=config.image_grid_pinpoints,
            shirg_x=shirg_x,
        )

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> "LavidaImageProcessor":
        """As it was saved beside a processor, else as ``config.json`` asks; ``shirg_x`` overrides its settings.

        Raises:
            FileNotFoundError: if there is no such checkpoint.
            ValueError: if one of the files is broken.
            TypeError: for an option that does not exist.
        """
        directory = take_directory(pretrained_model_name_or_path, options, files=SMALL_FILES)
        given = "shirg_x" in options
        shirg_x = options.pop("shirg_x", None)
        refuse_options(options, cls.__name__)
        if saved := _saved_settings(directory):
            return cls(**{**saved, "shirg_x": shirg_x} if given else saved)
        config = read_config(directory, {})
        return cls.from_config(config, shirg_x=shirg_x if given else config.shirg_x)

    @property
    def image_view(self) -> PageViews | None:
        """The views that SHIRG-X wants of every picture; None for LaViDa's own."""
        if self.shirg_x is None:
            return None
        settings = ShirgXConfig.from_dict(self.shirg_x)
        return None if settings.mode == "stock" else settings.views(self.patch_size)

    def open(self, source: Any) -> Image.Image:
        """A picture in RGB, upright, from whatever ``open_picture`` takes, or from a ``data:`` address.

        Raises:
            FileNotFoundError, ValueError, TypeError: as ``open_picture``; an address on the web is refused.
        """
        if isinstance(source, str) and source.startswith("data:"):
            return decode_base64_image(source)
        return open_picture(source, long_side=pdf_long_side(self.image_view)).image

    def preprocess(self, images: Any, return_tensors: str = "pt", **unknown: Any) -> BatchFeature:
        """``pixel_values`` (images, views, 3, side, side) float32 and ``image_sizes`` (images, 2) as (width, height).

        Args:
            images: one picture or several, each as ``open`` takes it.

        Raises:
            ValueError: if there is none, or another tensor type than ``pt`` is asked for.
        """
        refuse_options(unknown, type(self).__name__)
        if return_tensors not in (None, "pt"):
            raise ValueError(f"return_tensors={return_tensors!r} is not supported; use 'pt'")
        pictures = [self.open(each) for each in (images if isinstance(images, list | tuple) else [images])]
        if not pictures:
            raise ValueError("there is no image to process; give at least one, or none at all")
        side = self.size["height"]
        siglip = SigLipImageProcessor(
            size=(side, side), image_mean=_by_channel(self.image_mean), image_std=_by_channel(self.image_std)
        )
        views = process_images(pictures, siglip, self)
        sizes = torch.tensor([picture.size for picture in pictures])
        return BatchFeature({"pixel_values": pad_sequence(views, batch_first=True), "image_sizes": sizes})


def _by_channel(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue


def _saved_settings(directory: Path) -> dict[str, Any] | None:
    """What a processor that was saved says of its image processor; None where none was saved."""
    path = directory / PROCESSOR_FILE
    if not path.is_file():
        return None
    try:
        settings = json.loads(path.read_text(encoding="utf-8")).get("image_processor")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} is not a processor's JSON ({error}); save the processor again") from error
    return settings if isinstance(settings, dict) else None
