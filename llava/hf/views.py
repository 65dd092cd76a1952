"""From a padded batch of pixel views back to each image's own."""

from collections.abc import Sequence

from torch import Tensor

from llava.mm_utils import count_views
from llava.model.language_model.lavida import LavidaForMaskedDiffusion

Sizes = Tensor | Sequence[tuple[int, int]]
"""(images, 2) widths and heights."""


def unpad_views(
    model: LavidaForMaskedDiffusion, pixel_values: Tensor | None, image_sizes: Sizes | None
) -> tuple[list[Tensor] | None, list[tuple[int, int]] | None]:
    """The views (views, 3, side, side) of each image and its (width, height); twice None without images.

    Args:
        pixel_values: (images, views, 3, side, side), zeros behind an image's own views.

    Raises:
        ValueError: if images and sizes do not pair up, or the views are those of another encoding.
    """
    if pixel_values is None:
        return None, None
    if image_sizes is None or len(image_sizes) != len(pixel_values):
        given = 0 if image_sizes is None else len(image_sizes)
        raise ValueError(f"{len(pixel_values)} images but {given} image_sizes were given; give one for each")
    rows = image_sizes.tolist() if isinstance(image_sizes, Tensor) else image_sizes
    sizes = [(int(width), int(height)) for width, height in rows]
    own = model.get_vision_tower().image_size
    patched = getattr(model.config, "image_view", None)
    side = own if patched is None else patched.side
    found = []
    for views, size in zip(pixel_values, sizes, strict=True):
        count = count_views(size, own, model.config)
        if tuple(views.shape[1:]) != (3, side, side) or len(views) < count or bool(views[count:].any()):
            raise ValueError(
                f"an image of {size[0]}x{size[1]} pixels has views of shape {tuple(views.shape)}, but this model wants "
                f"({count}, 3, {side}, {side}); call processor.follow(model) and process the images again"
            )
        found.append(views[:count])
    return found, sizes
