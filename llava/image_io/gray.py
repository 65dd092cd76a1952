"""Gray pictures of more than 8 bits, signed or in floats, as people see them: white is white.

What the numbers mean is in a TIFF's tags (TIFF 6.0, Adobe, 1992: ``BitsPerSample``, ``SampleFormat``,
``PhotometricInterpretation``, ``MinSampleValue``, ``MaxSampleValue``, ``SMinSampleValue``, ``SMaxSampleValue``).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_BITS, _PHOTOMETRIC, _FORMAT = 258, 262, 339
_RANGES = ((340, 341), (280, 281))
"""Tags of the lowest and the highest value, the more exact ones first."""
_SIGNED, _FLOAT = 2, 3
_DEPTHS = (8, 10, 12, 14, 16)
"""Bits that cameras and scanners put into larger numbers."""
_BAND = 2**22
"""Pixels that are worked on at a time."""


@dataclass(frozen=True, kw_only=True)
class _Meaning:
    bits: int
    kind: str
    """``u``, ``i`` or ``f``, as numpy has it."""
    black_is_high: bool = False
    declared: tuple[float, float] | None = None
    clear: int | None = None
    """The value that is transparent."""


def to_gray(image: Image.Image) -> Image.Image:
    """The picture in mode L, at its own size.

    Whole numbers of up to 16 bits cover what their depth holds, or the file's declared range; those of 32 bits the
    smallest depth in use that holds them. Floats count as 0 to 1, else as 0 to 255. What exceeds that is stretched.
    """
    meaning = _meaning_of(image)
    low, high = _span(image, meaning)
    gain = 255.0 / (high - low) if high > low else 0.0
    gray = Image.new("L", image.size)
    for top, values in _bands(image, meaning):
        levels = np.rint((_finite(values) - low) * gain).clip(0, 255).astype(np.uint8)
        if meaning.black_is_high:
            levels = 255 - levels
        if meaning.clear is not None:
            levels[values == meaning.clear] = 255
        gray.paste(Image.fromarray(levels), (0, top))
    return gray


def _tag(image: Image.Image, number: int) -> Any:
    value = getattr(image, "tag_v2", {}).get(number)
    return value[0] if isinstance(value, tuple) and value else value


def _meaning_of(image: Image.Image) -> _Meaning:
    kind, bits = {"F": ("f", 32), "I": ("i", 32), "L": ("u", 8)}.get(image.mode, ("u", 16))
    if not hasattr(image, "tag_v2"):
        clear = image.info.get("transparency") if image.mode.startswith("I") else None
        if kind == "i" and image.format is not None:
            kind, bits = "u", 16  # Pillow keeps 16 bits of a file in 32
        return _Meaning(bits=bits, kind=kind, clear=clear if isinstance(clear, int) else None)
    bits = int(_tag(image, _BITS) or bits)
    form = _tag(image, _FORMAT)
    kind = "f" if form == _FLOAT or image.mode == "F" else "i" if form == _SIGNED else "u"
    pairs = ((_tag(image, low) or 0, _tag(image, high)) for low, high in _RANGES)
    declared = next(((float(low), float(high)) for low, high in pairs if _is_range(low, high)), None)
    return _Meaning(bits=bits, kind=kind, black_is_high=_tag(image, _PHOTOMETRIC) == 0, declared=declared)


def _is_range(low: Any, high: Any) -> bool:
    return (
        isinstance(high, int | float)
        and isinstance(low, int | float)
        and bool(np.isfinite([low, high]).all())
        and high > low
    )


def _bands(image: Image.Image, meaning: _Meaning) -> Iterator[tuple[int, NDArray[Any]]]:
    """The rows of the picture and where they begin, some at a time, so that no copy of all is made."""
    rows = max(1, _BAND // image.width)
    for top in range(0, image.height, rows):
        values = np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))))
        if image.mode == "L":
            values = values.view(np.int8)
        elif image.mode == "I" and meaning.kind == "u" and meaning.bits == 32:
            values = values.view(np.uint32)
        yield top, values


def _finite(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _span(image: Image.Image, meaning: _Meaning) -> tuple[float, float]:
    """The values that are shown as 0 and as 255 (or the other way round)."""
    held = [(_finite(values).min(), _finite(values).max()) for _, values in _bands(image, meaning)]
    low, high = float(min(low for low, _ in held)), float(max(high for _, high in held))
    if meaning.declared is not None and meaning.declared[0] <= low and high <= meaning.declared[1]:
        return meaning.declared
    if meaning.kind == "f":
        ceilings: tuple[float, ...] = (1.0, 255.0)
    elif meaning.bits <= 16:
        if low < 0:
            return -(2.0 ** (meaning.bits - 1)), 2.0 ** (meaning.bits - 1) - 1
        ceilings = (2.0 ** (meaning.bits - (meaning.kind == "i")) - 1,)
    else:
        ceilings = tuple(2.0**bits - 1 for bits in (*_DEPTHS, meaning.bits - (meaning.kind == "i")))
    return next(((0.0, ceiling) for ceiling in ceilings if low >= 0 and high <= ceiling), (low, high))
