"""What happens to a page behind its printing: as often as is said, never to where things stand except by a turn."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from llava.pages.print import Print
from llava.pages.wear import USUAL_WEAR, Wear, turn, wear_down
from tests.print_helpers import equal_prints, line_print

NEVER = Wear().scaled(0.0)
WIDTH, HEIGHT = 89, 67
PAPER, INK = (240, 236, 231), (40, 50, 90)
SPOTS = ((17, 13), (71, 19), (43, 53))


@pytest.fixture(scope="module")
def page() -> Image.Image:
    """Dark spots of 5 x 5 pixels on light paper."""
    pixels = np.full((HEIGHT, WIDTH, 3), PAPER, dtype=np.uint8)
    for x, y in SPOTS:
        pixels[y - 2 : y + 3, x - 2 : x + 3] = INK
    return Image.fromarray(pixels)


def only(**settings: float) -> Wear:
    return Wear(**{**vars(NEVER), **settings})


def levels(image: Image.Image) -> NDArray[np.float64]:
    return np.asarray(image).astype(float)


def spot_middles(image: Image.Image) -> list[tuple[float, float]]:
    """x and y of the middle of what is darker than its surroundings, around each spot."""
    found = []
    for x, y in SPOTS:
        part = levels(image.convert("L"))[y - 8 : y + 9, x - 8 : x + 9]
        mass = (np.median(part) - part - 40).clip(min=0)
        down, across = np.mgrid[-8:9, -8:9]
        found.append((x + float((mass * across).sum() / mass.sum()), y + float((mass * down).sum() / mass.sum())))
    return found


def test_without_wear_the_page_stays_as_it_was_printed(page):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert np.array_equal(levels(wear_down(rng, page, NEVER)), levels(page))
        printed = line_print("ab", x=9, base=31, size=12, advance=6)
        turned, still = turn(rng, page, printed, NEVER)
        assert turned is page
        assert still is printed


@pytest.mark.parametrize("kind", ["blur", "noise", "jpeg", "gray", "shadow"])
def test_each_kind_of_wear_changes_the_page_in_its_way_and_moves_nothing(page, kind):
    for seed in range(12):
        worn = wear_down(np.random.default_rng(seed), page, only(**{kind: 1.0}))
        assert (worn.size, worn.mode) == (page.size, "RGB")
        before, after = levels(page), levels(worn)
        assert not np.array_equal(before, after)
        for place, (x, y) in zip(spot_middles(worn), SPOTS, strict=True):
            assert place == pytest.approx((x, y), abs=0.3)
        if kind == "gray":
            assert (after == after[..., :1]).all()
            assert np.array_equal(after[..., 0], levels(page.convert("L")))
        elif kind == "blur":
            assert after.mean() == pytest.approx(before.mean(), abs=1.0)
            assert (np.diff(after[..., 0]) ** 2).sum() < (np.diff(before[..., 0]) ** 2).sum()
        elif kind == "noise":
            grain = after - before
            dark = np.abs(after - 127).max(axis=2) < 115  # where nothing is cut off at white
            assert np.ptp(grain[dark], axis=1).max() <= 1  # of one gray, up to rounding
            assert 0.3 < grain.std() < 7.5
            assert grain.mean() == pytest.approx(-0.5, abs=0.6)  # cut off to whole levels
        elif kind == "shadow":
            assert (after <= before).all()
            assert (after >= before * 0.54 - 1).all()
            rows, columns = after[:, :, 0].mean(1), after[:, :, 0].mean(0)
            assert max(np.ptp(rows), np.ptp(columns)) > 2
        else:
            assert np.abs(after - before).mean() < 6


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_wear_happens_as_often_as_is_said(page, share):
    wear = only(gray=share)
    changed = sum(
        (np.ptp(levels(wear_down(np.random.default_rng(seed), page, wear)), axis=2) == 0).all() for seed in range(400)
    )
    assert changed / 400 == pytest.approx(share, abs=0.07)


def test_scaled_wear_happens_more_seldom_and_is_as_bad(page):
    half = USUAL_WEAR.scaled(0.5)
    for name in ("blur", "noise", "jpeg", "gray", "shadow", "turn"):
        assert getattr(half, name) == getattr(USUAL_WEAR, name) / 2 > 0
    for name in ("most_blur", "most_noise", "least_quality", "most_degrees"):
        assert getattr(half, name) == getattr(USUAL_WEAR, name)
    assert USUAL_WEAR.scaled(1.0) == USUAL_WEAR
    assert [getattr(NEVER, name) for name in ("blur", "noise", "jpeg", "gray", "shadow", "turn")] == [0] * 6


def test_noise_neither_wraps_around_nor_leaves_black_and_white():
    for level in (0, 255):
        image = Image.new("RGB", (31, 29), (level,) * 3)
        worn = levels(wear_down(np.random.default_rng(3), image, only(noise=1.0, most_noise=40.0)))
        assert abs(worn - level).max() < 200
        assert worn.std() > 0


class TestTurn:
    def printed(self) -> Print:
        """A character for each spot, whose advance and baseline have their middle in it."""
        x, y = np.array(SPOTS, dtype=float).T + 0.5
        return Print(classes=np.arange(3), left=x - 3, right=x + 3, base=y, size=np.full(3, 12.0), word=np.arange(3))

    def test_print_stays_on_its_ink(self, page):
        moved = 0
        for seed in range(12):
            image, printed = turn(np.random.default_rng(seed), page, self.printed(), only(turn=1.0, most_degrees=3.0))
            assert image.size == page.size
            x = (printed.left + printed.right) / 2 - 0.5
            for place, wanted in zip(spot_middles(image), zip(x, printed.base - 0.5, strict=True), strict=True):
                assert place == pytest.approx(wanted, abs=0.35)
            moved += np.hypot(x - np.array(SPOTS)[:, 0], printed.base - 0.5 - np.array(SPOTS)[:, 1]).max() > 0.5
        assert moved > 5

    def test_paper_comes_into_view_at_the_corners(self, page):
        image, _ = turn(np.random.default_rng(1), page, self.printed(), only(turn=1.0, most_degrees=3.0))
        corners = [
            image.getpixel(place) for place in ((0, 0), (WIDTH - 1, 0), (0, HEIGHT - 1), (WIDTH - 1, HEIGHT - 1))
        ]
        assert corners == [PAPER] * 4

    def test_it_is_no_more_than_is_said_and_goes_both_ways(self, page):
        angles = []
        for seed in range(60):
            _, printed = turn(np.random.default_rng(seed), page, self.printed(), only(turn=1.0, most_degrees=2.0))
            before = self.printed()
            x, y = printed.left[1] - printed.left[0], printed.base[1] - printed.base[0]
            far, high = before.left[1] - before.left[0], before.base[1] - before.base[0]
            angles.append(float(np.degrees(np.arctan2(high, far) - np.arctan2(y, x))))
        assert -2 <= min(angles) < -1.5
        assert 1.5 < max(angles) <= 2


def test_the_same_numbers_wear_a_page_alike(page):
    all_of_it = Wear(blur=1, noise=1, jpeg=1, gray=1, shadow=1, turn=1)
    printed = line_print("ab", x=9, base=31, size=12, advance=6)
    results = []
    for seed in (5, 5, 6):
        rng = np.random.default_rng(seed)
        image, moved = turn(rng, page, printed, all_of_it)
        results.append((wear_down(rng, image, all_of_it), moved))
    assert np.array_equal(levels(results[0][0]), levels(results[1][0]))
    assert equal_prints(results[0][1], results[1][1])
    assert not np.array_equal(levels(results[0][0]), levels(results[2][0]))
