"""From a PIL image to SigLIP's pixel values."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

REDUCING_GAP = 8.0
"""Pixels for one, along each side, above which they are averaged before they are resized: a pass resizes one side, and
what lies between the two passes of a long picture would be larger than both."""


@dataclass(frozen=True, kw_only=True)
class SigLipImageProcessor:
    """Bicubic resize, then (value / 255 - mean) / std per channel; sizes are (height, width)."""

    size: tuple[int, int] = (384, 384)
    image_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    image_std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    @property
    def crop_size(self) -> dict[str, int]:
        """The tile size under the name that LaViDa's utilities read."""
        return {"height": self.size[0], "width": self.size[1]}

    def preprocess(
        self,
        images: Image.Image | Sequence[Image.Image],
        return_tensors: str = "pt",
        *,
        size: tuple[int, int] | None = None,
    ) -> dict[str, Tensor]:
        """``{"pixel_values": (images, 3, height, width) float32}``; ``size`` overrides the views' (height, width).

        Raises:
            ValueError: if another tensor type than ``pt`` is asked for.
        """
        if return_tensors != "pt":
            raise ValueError(f"return_tensors={return_tensors!r} is not supported; use 'pt'")
        height, width = self.size if size is None else size
        batch = [images] if isinstance(images, Image.Image) else images
        return {"pixel_values": torch.stack([self._to_tensor(image, height, width) for image in batch])}

    __call__ = preprocess

    def _to_tensor(self, image: Image.Image, height: int, width: int) -> Tensor:
        resized = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC, reducing_gap=REDUCING_GAP)
        # Bytes are turned to channels first, a quarter of what floats are, and one tensor is then worked on in place.
        channels = torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous()
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.image_mean, self.image_std))
        return channels.to(torch.float32).div_(255).sub_(mean).div_(std)

    def to_8_bit(self, pixel_values: Tensor) -> Tensor:
        """The resized 8-bit pixels behind normalized ones, as floats of 0 to 255 in the same shape."""
        mean, std = (pixel_values.new_tensor(values)[:, None, None] for values in (self.image_mean, self.image_std))
        return ((pixel_values * std + mean) * 255).round().clamp(0, 255)
