"""The convolutional stem: what each patch sees, that letters look alike in every patch, and what it costs."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from llava.model.multimodal_encoder.stem import ConvStem, stem_flops

CHANNELS, DIM, PATCH, ROWS, COLUMNS = 3, 13, 14, 5, 7


def stem(widths: tuple[int, ...] = (2,), overlap: int = 0) -> ConvStem:
    torch.manual_seed(5)
    return ConvStem(CHANNELS, widths, DIM, PATCH, overlap).double()


def picture(rows: int = ROWS, columns: int = COLUMNS) -> torch.Tensor:
    return torch.randn(2, CHANNELS, rows * PATCH, columns * PATCH, dtype=torch.float64)


@pytest.mark.parametrize("overlap", [0, 3])
@pytest.mark.parametrize("widths", [(2,), (2, 11), (5, 2, 11)])
def test_patches_stand_as_in_the_picture(widths, overlap):
    assert stem(widths, overlap)(picture()).shape == (2, DIM, ROWS, COLUMNS)


@pytest.mark.parametrize(("widths", "overlap"), [((2,), 0), ((2, 3), 0), ((2,), 3), ((2, 3, 5), 3)])
def test_a_patch_sees_as_far_on_every_side(widths, overlap):
    """Its own pixels, one more for the first convolution, and for each pixel of the halved picture two."""
    pixels = picture().requires_grad_()
    with torch.no_grad():
        module = stem(widths, overlap)
        for layer in module:
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight.abs_()
                layer.bias.fill_(1.0)
        pixels.abs_()
    module(pixels)[0, :, 2, 3].sum().backward()
    seen = pixels.grad[0].abs().sum(0) > 0
    margin = 1 + 2 * (len(widths) - 1 + overlap)
    rows, columns = seen.nonzero().unbind(1)
    assert (rows.min(), rows.max() + 1) == (2 * PATCH - margin, 3 * PATCH + margin)
    assert (columns.min(), columns.max() + 1) == (3 * PATCH - margin, 4 * PATCH + margin)
    assert (pixels.grad[1] == 0).all()


@pytest.mark.parametrize(("down", "across"), [(1, 0), (0, 1), (2, 3)])
def test_a_picture_that_is_moved_by_patches_gives_the_same_patches_further_on(down, across):
    module, pixels = stem((2, 3), 3), picture(ROWS + 4, COLUMNS + 4)
    before = module(pixels)
    after = module(pixels.roll((down * PATCH, across * PATCH), (2, 3)))
    # The borders see the paddings and what was rolled in.
    inner = slice(1, -1), slice(1, -1)
    expected = before.roll((down, across), (2, 3))
    torch.testing.assert_close(
        after[:, :, 1 + down : -1, 1 + across : -1], expected[:, :, 1 + down : -1, 1 + across : -1]
    )
    assert not torch.allclose(after[:, :, *inner], before[:, :, *inner])


def test_a_letter_looks_the_same_to_the_first_layers_wherever_it_stands_on_an_even_pixel():
    """Which a plain patch embedding would have to learn at each of its places anew."""
    module, pixels = stem((2, 3), 3), torch.zeros(1, CHANNELS, ROWS * PATCH, COLUMNS * PATCH, dtype=torch.float64)
    pixels[..., 20:27, 30:39] = torch.randn(CHANNELS, 7, 9, dtype=torch.float64)
    first = torch.nn.Sequential(*list(module)[:-1])
    for dx, dy in ((2, 0), (0, 4), (6, 10)):
        moved = first(pixels.roll((dy, dx), (2, 3)))
        inside = slice(4, -4)
        torch.testing.assert_close(
            moved[..., inside, inside], first(pixels).roll((dy // 2, dx // 2), (2, 3))[..., inside, inside]
        )


@pytest.mark.parametrize("overlap", [0, 3])
@pytest.mark.parametrize("widths", [(2,), (5, 2, 11)])
def test_its_arithmetic_is_what_is_counted(widths, overlap):
    with FlopCounterMode(display=False) as counter:
        stem(widths, overlap)(picture()[:1])
    told = stem_flops(CHANNELS, widths, DIM, PATCH, ROWS * COLUMNS, overlap)
    assert told == counter.get_total_flops()


@pytest.mark.parametrize(("widths", "patch"), [((), 14), ((2,), 7)])
def test_no_width_and_patches_that_do_not_halve_are_refused(widths, patch):
    with pytest.raises(ValueError, match="a stem needs widths and patches of an even size"):
        ConvStem(CHANNELS, widths, DIM, patch)
