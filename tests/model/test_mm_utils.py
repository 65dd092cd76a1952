"""Views and prompt ids; their recorded numbers are in test_parity."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from llava.image_processor import SigLipImageProcessor
from llava.mm_utils import (
    divide_to_patches,
    expand2square,
    get_model_name_from_path,
    parse_pinpoints,
    process_images,
    resize_and_pad_image,
    select_best_resolution,
    tokenizer_image_token,
)
from shirg.tiling import PageViews
from tests.model.test_parity import block_image

PINPOINTS = [(384, 768), (768, 384), (768, 768), (1152, 384), (384, 1152)]


class Letters:
    """A tokenizer whose ids are character codes."""

    bos_token_id = ord("^")

    def __call__(self, text: str) -> SimpleNamespace:
        return SimpleNamespace(input_ids=[ord(letter) for letter in text])


def test_the_first_token_behind_an_image_is_dropped_as_lavida_does():
    ids = tokenizer_image_token("^a<image>\nb<image>\nc", Letters())
    assert ids == [94, 97, -200, 98, -200, 99]
    kept = tokenizer_image_token("^a<image>\nb", Letters(), drop_first_after_image=False)
    assert kept == [94, 97, -200, 10, 98]
    assert tokenizer_image_token("a<image>\nb", Letters()) == [97, -200, 10, 98]
    assert tokenizer_image_token("<image>\nb", Letters()) == [-200, 10, 98]
    assert torch.equal(tokenizer_image_token("^a", Letters(), return_tensors="pt"), torch.tensor([94, 97]))
    with pytest.raises(ValueError, match="np"):
        tokenizer_image_token("^a", Letters(), return_tensors="np")


def usable_and_waste(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    scale = min(target[0] / size[0], target[1] / size[1])
    usable = min(int(size[0] * scale) * int(size[1] * scale), size[0] * size[1])
    return usable, target[0] * target[1] - usable


@given(st.tuples(st.integers(1, 3000), st.integers(1, 3000)))
def test_no_other_resolution_keeps_more_or_wastes_less(size):
    usable, waste = usable_and_waste(size, select_best_resolution(size, PINPOINTS))
    for other in PINPOINTS:
        other_usable, other_waste = usable_and_waste(size, other)
        assert (other_usable, -other_waste) <= (usable, -waste)


@given(st.tuples(st.integers(1, 900), st.integers(1, 900)))
def test_padding_centers_the_whole_image_on_black(size):
    canvas = resize_and_pad_image(Image.new("RGB", size, (255, 255, 255)), (384, 768))
    assert canvas.size == (384, 768)
    left, top, right, bottom = canvas.getbbox()
    assert right - left == 384 or bottom - top == 768
    assert abs(left - (384 - right)) <= 1
    assert abs(top - (768 - bottom)) <= 1


def test_tiles_come_row_by_row():
    image = Image.new("RGB", (6, 4))
    for index, (x, y) in enumerate([(0, 0), (2, 0), (4, 0), (0, 2), (2, 2), (4, 2)]):
        image.paste((index, 0, 0), (x, y, x + 2, y + 2))
    tiles = divide_to_patches(image, 2)
    assert [tile.getpixel((1, 1))[0] for tile in tiles] == [0, 1, 2, 3, 4, 5]


def test_a_live_patch_s_view_replaces_lavida_s():
    processor = SigLipImageProcessor()
    image = block_image(60, 30, 1)
    config = SimpleNamespace(image_aspect_ratio="anyres", image_grid_pinpoints=PINPOINTS)
    assert process_images([image], processor, config)[0].shape == (3, 3, 384, 384)
    config.image_view = PageViews(side=56, pad=False)
    assert process_images([image, image], processor, config)[1].shape == (1, 3, 56, 56)
    config.image_view = PageViews(side=56, pad=True)
    padded = process_images([image], processor, config)[0]
    assert padded[0, :, :13].abs().max() < 0.01
    assert padded[0, :, 16:40].std() > 0.3


@pytest.mark.parametrize("aspect", ["pad", "square", None])
def test_single_view_models(aspect):
    config = SimpleNamespace(image_aspect_ratio=aspect, image_grid_pinpoints="")
    views = process_images([block_image(60, 30, 2)], SigLipImageProcessor(), config)
    assert [view.shape for view in views] == [(1, 3, 384, 384)]


def test_expand2square_centers():
    square = expand2square(Image.new("RGB", (7, 3), (9, 9, 9)), (1, 2, 3))
    assert square.size == (7, 7)
    assert square.getpixel((3, 3)) == (9, 9, 9)
    assert square.getpixel((3, 0)) == (1, 2, 3)


@pytest.mark.parametrize("pinpoints", ["[(384)]", "nonsense(", [], [(0, 3)], "[('a', 2)]"])
def test_broken_pinpoints_are_named(pinpoints):
    with pytest.raises(ValueError, match="image_grid_pinpoints"):
        parse_pinpoints(pinpoints)


def test_8_bit_pixels_come_back_exactly():
    processor = SigLipImageProcessor()
    image = block_image(14, 14, 3)
    pixels = processor.preprocess(image, size=(14, 14))["pixel_values"]
    expected = torch.tensor(list(image.get_flattened_data())).reshape(14, 14, 3).permute(2, 0, 1).float()
    assert torch.equal(processor.to_8_bit(pixels)[0], expected)


def test_model_names():
    assert get_model_name_from_path("owner/lavida-llada-v1.0") == "lavida-llada-v1.0"
    assert get_model_name_from_path("/runs/mine/checkpoint-300/") == "mine_checkpoint-300"


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (block_image(31, 29, 1), TypeError, "takes a list of images; put the one in brackets"),
        ("page.png", TypeError, "takes a list of images"),
        (["page.png"], TypeError, "image 0 is of type str; give PIL images"),
        ([block_image(31, 29, 1), Image.new("RGB", (0, 7))], ValueError, r"image 1 has no pixels \(0 x 7\); leave it"),
    ],
)
def test_what_is_no_list_of_pictures_is_refused(images, error, message):
    with pytest.raises(error, match=message):
        process_images(images, SigLipImageProcessor(), SimpleNamespace(image_aspect_ratio="pad"))
