"""What happens to a page between its printing and its reader: blur, noise, compression, shadows, a slight turn."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, ImageFilter

from llava.pages.chance import between, happens
from llava.pages.print import Print


@dataclass(frozen=True, kw_only=True)
class Wear:
    """How often each kind of damage happens, from 0 to 1, and how bad it can get."""

    blur: float = 0.3
    most_blur: float = 0.7
    """Standard deviation in pixels."""
    noise: float = 0.5
    most_noise: float = 7.0
    """Standard deviation in levels of 255."""
    jpeg: float = 0.3
    least_quality: int = 35
    gray: float = 0.15
    shadow: float = 0.08
    turn: float = 0.08
    most_degrees: float = 1.2

    def scaled(self, share: float) -> "Wear":
        """All of it happening so much more seldom."""
        names = ("blur", "noise", "jpeg", "gray", "shadow", "turn")
        return Wear(**{**vars(self), **{name: share * getattr(self, name) for name in names}})


USUAL_WEAR = Wear()


def turn(rng: np.random.Generator, image: Image.Image, print_: Print, wear: Wear) -> tuple[Image.Image, Print]:
    """The page a little askew, now and then; what comes into view at the corners is the paper around."""
    if not happens(rng, wear.turn):
        return image, print_
    degrees = rng.uniform(-wear.most_degrees, wear.most_degrees)
    paper = image.getpixel((0, 0))
    turned = image.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=paper)
    return turned, print_.turned(degrees, image.width / 2, image.height / 2)


@dataclass(frozen=True, kw_only=True)
class Damage:
    """What happened to one page."""

    gray: bool = False
    blur: float = 0.0
    """Standard deviation in pixels; 0 for none, as below."""
    shadow: tuple[float, float, float, float] | None = None
    """Angle in radians, depth from 0 to 1, steepness, and place from -0.5 to 0.5."""
    noise: float = 0.0
    """Standard deviation in levels of 255."""
    quality: int | None = None
    """Of JPEG."""

    @property
    def names(self) -> tuple[str, ...]:
        """What of it happened at all."""
        happened = (("gray", self.gray), ("blur", self.blur), ("shadow", self.shadow), ("noise", self.noise))
        return tuple(name for name, value in (*happened, ("JPEG", self.quality)) if value)


def draw_damage(rng: np.random.Generator, wear: Wear) -> Damage:
    """What happens to a page, by chance."""
    return Damage(
        gray=happens(rng, wear.gray),
        blur=rng.uniform(0.2, wear.most_blur) if happens(rng, wear.blur) else 0.0,
        shadow=_draw_shadow(rng) if happens(rng, wear.shadow) else None,
        noise=rng.uniform(0.5, wear.most_noise) if happens(rng, wear.noise) else 0.0,
        quality=between(rng, wear.least_quality, 92) if happens(rng, wear.jpeg) else None,
    )


def do_damage(rng: np.random.Generator, image: Image.Image, damage: Damage) -> Image.Image:
    """The page as it arrives; nothing on it moves."""
    if damage.gray:
        image = image.convert("L").convert("RGB")
    if damage.blur:
        image = image.filter(ImageFilter.GaussianBlur(damage.blur))
    if damage.shadow is not None:
        image = _shade(image, *damage.shadow)
    if damage.noise:
        pixels = np.asarray(image, dtype=np.float32)
        grain = rng.standard_normal((*pixels.shape[:2], 1), dtype=np.float32) * np.float32(damage.noise)
        image = Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8))
    if damage.quality is not None:
        stream = BytesIO()
        image.save(stream, "JPEG", quality=damage.quality)
        image = Image.open(stream).convert("RGB")
    return image


def wear_down(rng: np.random.Generator, image: Image.Image, wear: Wear) -> Image.Image:
    """A page after what happens to it by chance."""
    return do_damage(rng, image, draw_damage(rng, wear))


def _draw_shadow(rng: np.random.Generator) -> tuple[float, float, float, float]:
    return rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.45), rng.uniform(2, 12), rng.uniform(-0.3, 0.3)


def _shade(image: Image.Image, angle: float, depth: float, steepness: float, place: float) -> Image.Image:
    """A soft shadow across the page, as in a photograph."""
    y, x = np.mgrid[-0.5 : 0.5 : image.height * 1j, -0.5 : 0.5 : image.width * 1j]
    ramp = 1 / (1 + np.exp(-steepness * (x * np.cos(angle) + y * np.sin(angle) + place)))
    pixels = np.asarray(image, dtype=np.float32) * (1 - depth * ramp[..., None]).astype(np.float32)
    return Image.fromarray(pixels.astype(np.uint8))
