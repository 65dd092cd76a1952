"""Image views and prompt ids, as LaViDa prepares them.

Sizes are (width, height) in pixels, as in PIL; grids are (columns, rows) where LaViDa has them so.
"""

import ast
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from llava.constants import DEFAULT_IMAGE_TOKEN, IMAGE_TOKEN_INDEX
from llava.image_io import decode_base64_image
from llava.image_processor import REDUCING_GAP, SigLipImageProcessor
from shirg.tiling import ONE_TILE, Grid, PageViews, Size

LARGEST_CANVAS = 16_000_000
"""Pixels of a padded picture, times four at most; a long one is shrunk before it is padded."""

load_image_from_base64 = decode_base64_image


class ViewConfig(Protocol):
    """The entries of a model's config that decide which views an image gets."""

    image_aspect_ratio: str | None
    image_grid_pinpoints: str | Sequence[Sequence[int]]


def parse_pinpoints(pinpoints: str | Sequence[Sequence[int]]) -> list[Size]:
    """The view sizes that a config lists, as a list or as its text.

    Raises:
        ValueError: if they are not pairs of positive whole numbers.
    """
    try:
        parsed = ast.literal_eval(pinpoints) if isinstance(pinpoints, str) else pinpoints
        sizes = [(int(width), int(height)) for width, height in parsed]
    except (ValueError, SyntaxError, TypeError) as error:
        raise ValueError(f"image_grid_pinpoints must be a list of (width, height), got {pinpoints!r}") from error
    if not sizes or min(min(size) for size in sizes) < 1:
        raise ValueError(f"image_grid_pinpoints must hold positive sizes, got {pinpoints!r}")
    return sizes


def select_best_resolution(original_size: Size, possible_resolutions: Sequence[Size]) -> Size:
    """The size that keeps the most of the image's pixels, then wastes the least on padding; the first of equals."""
    width, height = original_size

    def worth(size: Size) -> tuple[int, int]:
        scale = min(size[0] / width, size[1] / height)
        usable = min(int(width * scale) * int(height * scale), width * height)
        return usable, usable - size[0] * size[1]

    return max(possible_resolutions, key=worth)


def resize_and_pad_image(image: Image.Image, target_resolution: Size) -> Image.Image:
    """The image scaled to fit and centered on black."""
    (width, height), (target_width, target_height) = image.size, target_resolution
    scale_x, scale_y = target_width / width, target_height / height
    if scale_x < scale_y:
        fitted = target_width, min(math.ceil(height * scale_x), target_height)
    else:
        fitted = min(math.ceil(width * scale_y), target_width), target_height
    canvas = Image.new("RGB", target_resolution)
    offset = (target_width - fitted[0]) // 2, (target_height - fitted[1]) // 2
    canvas.paste(image.resize(fitted, Image.Resampling.BICUBIC, reducing_gap=REDUCING_GAP), offset)
    return canvas


def divide_to_patches(image: Image.Image, patch_size: int) -> list[Image.Image]:
    """Square tiles, row by row."""
    width, height = image.size
    return [
        image.crop((x, y, x + patch_size, y + patch_size))
        for y in range(0, height, patch_size)
        for x in range(0, width, patch_size)
    ]


def get_anyres_image_grid_shape(
    image_size: Size, grid_pinpoints: str | Sequence[Sequence[int]], patch_size: int
) -> tuple[int, int]:
    """(columns, rows) of tiles that an image is cut into."""
    width, height = select_best_resolution(image_size, parse_pinpoints(grid_pinpoints))
    return width // patch_size, height // patch_size


def process_anyres_image(
    image: Image.Image, processor: SigLipImageProcessor, grid_pinpoints: str | Sequence[Sequence[int]]
) -> Tensor:
    """LaViDa's any-resolution views (views, 3, side, side): the squashed thumbnail, then the tiles row by row."""
    side = processor.crop_size["height"]
    best = select_best_resolution(image.size, parse_pinpoints(grid_pinpoints))
    tiles = divide_to_patches(resize_and_pad_image(image, best), side)
    thumbnail = image.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=REDUCING_GAP)
    return processor.preprocess([thumbnail, *tiles])["pixel_values"]


def expand2square(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """The image centered on a square canvas of one color."""
    side = max(image.size)
    return _center(image, (side, side), background)


def _center(image: Image.Image, size: Size, background: tuple[int, int, int]) -> Image.Image:
    canvas = Image.new("RGB", size, background)
    canvas.paste(image, ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
    return canvas


def process_images(
    images: Sequence[Image.Image], image_processor: SigLipImageProcessor, model_cfg: ViewConfig
) -> list[Tensor]:
    """The pixel views of each image, a list of (views, 3, side, side) float32, as ``model_cfg`` asks.

    ``image_aspect_ratio``: ``anyres`` (LaViDa), ``pad`` (one view on a mean-colored square) or anything else for one
    squashed view. While a patch has set ``model_cfg.image_view``, every image gets its views instead: one, or the tiles
    of the page row by row.

    Pictures become RGB as LaViDa's do, which clips 16 bits and blackens what is transparent; ``load_image`` reads files
    as people see them.

    Raises:
        TypeError: if ``images`` is no list of PIL images.
        ValueError: if an image has no pixels.
    """
    _check_images(images)
    if (view := getattr(model_cfg, "image_view", None)) is not None:
        return [page_views(image, image_processor, view) for image in images]
    aspect = getattr(model_cfg, "image_aspect_ratio", None)
    rgb = [image.convert("RGB") for image in images]
    if aspect == "anyres":
        return [process_anyres_image(image, image_processor, model_cfg.image_grid_pinpoints) for image in rgb]
    side = image_processor.crop_size["height"]
    return [single_view(image, image_processor, side, pad=aspect == "pad") for image in rgb]


def count_views(image_size: Size, side: int, model_cfg: ViewConfig) -> int:
    """How many views ``process_images`` makes of an image of this size.

    Args:
        side: of LaViDa's views, in pixels.
    """
    if (view := getattr(model_cfg, "image_view", None)) is not None:
        return math.prod(view.tiling(image_size))
    if getattr(model_cfg, "image_aspect_ratio", None) != "anyres":
        return 1
    return 1 + math.prod(get_anyres_image_grid_shape(image_size, model_cfg.image_grid_pinpoints, side))


def _check_images(images: Sequence[Image.Image]) -> None:
    if isinstance(images, Image.Image | str):
        raise TypeError("process_images takes a list of images; put the one in brackets")
    for index, image in enumerate(images):
        if not isinstance(image, Image.Image):
            raise TypeError(f"image {index} is of type {type(image).__name__}; give PIL images, as of load_image")
        if 0 in image.size:
            raise ValueError(f"image {index} has no pixels ({image.width} x {image.height}); leave it out")


def single_view(image: Image.Image, processor: SigLipImageProcessor, side: int, *, pad: bool) -> Tensor:
    """One square view (1, 3, side, side): squashed, or padded with the mean color to keep its shape."""
    return page_views(image, processor, PageViews(side=side, pad=pad))


def page_views(image: Image.Image, processor: SigLipImageProcessor, views: PageViews) -> Tensor:
    """The views of an image, row by row, (rows * columns, 3, side, side).

    It is resized as a whole and then cut, so that print goes on across the border of two tiles as it does on the page.
    """
    rows, columns = tiling = views.tiling(image.size)
    image = image.convert("RGB")
    if views.pad:
        red, green, blue = (int(mean * 255) for mean in processor.image_mean)
        width, height = _padded_size(image.size, tiling)
        if (factor := math.isqrt(width * height // LARGEST_CANVAS)) > 1:
            image = image.reduce(factor)
        image = _center(image, _padded_size(image.size, tiling), (red, green, blue))
    pixels = processor.preprocess(image, size=(rows * views.side, columns * views.side))["pixel_values"]
    if tiling == ONE_TILE:
        return pixels
    squares = pixels[0].unflatten(2, (columns, -1)).unflatten(1, (rows, -1))
    return squares.permute(1, 3, 0, 2, 4).flatten(0, 1).contiguous()


def _padded_size(size: Size, tiling: Grid) -> Size:
    """The least (width, height) around an image that has the shape of its tiles."""
    (width, height), (rows, columns) = size, tiling
    return max(width, -(-height * columns // rows)), max(height, -(-width * rows // columns))


def check_views(views: Sequence[Tensor], image_sizes: Sequence[Size], wanted: PageViews) -> tuple[Grid, ...]:
    """The tiling of each image whose views a patched model is given.

    Raises:
        ValueError: if views and sizes do not pair up, or an image's views are not those that the patch wants of it.
    """
    if len(views) != len(image_sizes):
        raise ValueError(f"{len(views)} images but {len(image_sizes)} image_sizes were given; give one for each")
    tilings = tuple(wanted.tiling(size) for size in image_sizes)
    for index, (view, (rows, columns)) in enumerate(zip(views, tilings, strict=True)):
        shape = (rows * columns, 3, wanted.side, wanted.side)
        if tuple(view.shape) != shape:
            raise ValueError(
                f"image {index} has views of shape {tuple(view.shape)}, but SHIRG-X wants {shape}; "
                "call process_images with model.config after apply_shirg_x, and give each image's own size"
            )
    return tilings


class Tokenizer(Protocol):
    """What prompts need of a tokenizer; transformers' are such."""

    bos_token_id: int | None

    def __call__(self, text: str) -> Any: ...


def tokenizer_image_token(
    prompt: str,
    tokenizer: Tokenizer,
    image_token_index: int = IMAGE_TOKEN_INDEX,
    return_tensors: str | None = None,
    *,
    drop_first_after_image: bool = True,
) -> list[int] | Tensor:
    """Token ids of a prompt, one ``image_token_index`` for each ``<image>``.

    LaViDa drops the first token behind every image (a line break, as prompts are written) whenever the prompt begins
    with begin-of-text, and its released scores were made so; ``drop_first_after_image=False`` keeps that token.

    Raises:
        ValueError: if ``return_tensors`` is neither None nor ``pt``.
    """
    if return_tensors not in (None, "pt"):
        raise ValueError(f"return_tensors={return_tensors!r} is not supported; use 'pt' or None")
    first, *rest = (list(tokenizer(chunk).input_ids) for chunk in prompt.split(DEFAULT_IMAGE_TOKEN))
    skip = int(drop_first_after_image and bool(first) and first[0] == tokenizer.bos_token_id)
    ids = first
    for chunk in rest:
        ids += [image_token_index, *chunk[skip:]]
    return torch.tensor(ids, dtype=torch.long) if return_tensors == "pt" else ids


class KeywordsStoppingCriteria:
    """True once a generated text holds one of the keywords; LLaVA's callers build it for every answer.

    Masked diffusion does not write left to right: stopping is ``stop_at_end_of_turn`` in ``generate``.
    """

    def __init__(self, keywords: Sequence[str], tokenizer: Any, input_ids: Tensor) -> None:
        self.keywords, self.tokenizer, self.start = tuple(keywords), tokenizer, input_ids.shape[-1]

    def __call__(self, output_ids: Tensor, scores: Tensor | None = None, **_: Any) -> bool:
        texts = [self.tokenizer.decode(row[self.start :]) for row in output_ids]
        return all(any(keyword in text for keyword in self.keywords) for text in texts)


def get_model_name_from_path(model_path: str) -> str:
    """The last part of a path or hub id, with its parent in front when it is a training checkpoint's folder."""
    path = Path(model_path.rstrip("/"))
    return f"{path.parent.name}_{path.name}" if path.name.startswith("checkpoint-") else path.name
