"""White stays white, whatever depth, sign, polarity, range and byte order a gray TIFF has."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from llava.image_io import pictures
from llava.image_io.pictures import read_frame

WIDTH, HEIGHT = 12, 8
LEVELS = np.linspace(0, 1, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH)
"""From black to white."""


def tiff(data: bytes, bits: int, *, order: str = "<", photometric: int = 1, **tags: tuple[str, object]) -> bytes:
    """A TIFF of one strip, written out: ``tags`` are ``_NUMBER`` to a type (of struct) and a value."""
    entries: dict[int, tuple[str, object]] = {
        256: ("I", WIDTH),
        257: ("I", HEIGHT),
        258: ("H", bits),
        259: ("H", 1),
        262: ("H", photometric),
        273: ("I", None),
        277: ("H", 1),
        278: ("I", HEIGHT),
        279: ("I", len(data)),
        **{int(name[1:]): value for name, value in tags.items()},
    }
    start = 8 + 2 + 12 * len(entries) + 4
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(entries))
    for number, (kind, value) in sorted(entries.items()):
        code = {"H": 3, "I": 4, "h": 8, "i": 9, "f": 11}[kind]
        body = struct.pack(f"{order}{kind}", start if value is None else value).ljust(4, b"\0")
        head += struct.pack(f"{order}HHI", number, code, 1) + body
    return head + bytes(4) + data


def shown(content: bytes, path: Path) -> np.ndarray:
    path.write_bytes(content)
    with path.open("rb") as file:
        image = read_frame(file, path.name)
    assert image.mode == "RGB"
    return np.asarray(image)[..., 0].astype(int)


def whole(kind: str, most: float) -> np.ndarray:
    return np.rint(LEVELS * most).astype(kind)


CASES = {
    "16 bits": (whole("<u2", 65535), 16, {}),
    "16 bits, big-endian": (whole(">u2", 65535), 16, {"order": ">"}),
    "16 bits, white is zero": (whole("<u2", 65535)[::-1, ::-1], 16, {"photometric": 0}),
    "8 bits, white is zero": (whole("u1", 255)[::-1, ::-1], 8, {"photometric": 0}),
    "16 bits of which 12 are used, as it says": (whole("<u2", 4095), 16, {"_281": ("H", 4095)}),
    "16 bits from 1000 to 5000, as it says": (
        whole("<u2", 4000) + 1000,
        16,
        {"_280": ("H", 1000), "_281": ("H", 5000)},
    ),
    "16 bits, signed": (whole("<i2", 32767), 16, {"_339": ("H", 2)}),
    "16 bits, signed, below zero": ((whole("<i4", 65535) - 32768).astype("<i2"), 16, {"_339": ("H", 2)}),
    "8 bits, signed": (whole("i1", 127), 8, {"_339": ("H", 2)}),
    "8 bits, signed, below zero": ((whole("i4", 255) - 128).astype("i1"), 8, {"_339": ("H", 2)}),
    "32 bits": (whole("<u4", 2**32 - 1), 32, {}),
    "32 bits, signed": (whole("<i4", 2**31 - 1), 32, {"_339": ("H", 2)}),
    "32 bits of which 8 are used": (whole("<u4", 255), 32, {}),
    "32 bits of which 12 are used": (whole("<u4", 4095), 32, {}),
    "floats to 1": (LEVELS.astype("<f4"), 32, {"_339": ("H", 3)}),
    "floats to 255": ((LEVELS * 255).astype("<f4"), 32, {"_339": ("H", 3)}),
    "floats to 4095, as it says": ((LEVELS * 4095).astype("<f4"), 32, {"_339": ("H", 3), "_341": ("f", 4095.0)}),
    "floats, white is zero": ((1 - LEVELS).astype("<f4"), 32, {"_339": ("H", 3), "photometric": 0}),
}


@pytest.mark.parametrize("name", CASES)
def test_white_is_white_and_black_is_black(tmp_path: Path, name: str) -> None:
    values, bits, options = CASES[name]
    found = shown(tiff(values.tobytes(), bits, **options), tmp_path / "a.tif")
    np.testing.assert_allclose(found, LEVELS * 255, atol=1.51)  # 7 bits are rounded twice


@pytest.mark.parametrize("photometric", [0, 1])
def test_packed_depths(tmp_path: Path, photometric: int) -> None:
    for bits in (1, 2, 4, 12):
        most = 2**bits - 1
        values = np.rint(LEVELS * most).astype(int)
        stored = values if photometric else most - values
        text = "".join(f"{value:0{bits}b}" for value in stored.flat)
        if bits == 1:  # rows begin with a byte
            text = "".join("".join(map(str, row)).ljust(16, "0") for row in stored)
        data = int(text, 2).to_bytes(len(text) // 8, "big")
        if (bits, photometric) == (12, 0):
            with pytest.raises(ValueError, match="its kind of pixels is not supported; convert it to PNG"):
                shown(tiff(data, bits, photometric=photometric), tmp_path / "a.tif")
            continue
        found = shown(tiff(data, bits, photometric=photometric), tmp_path / "a.tif")
        np.testing.assert_allclose(found, values * 255 / most, atol=1.01)


@pytest.mark.parametrize("most", [255, 1023, 4095, 65535, 200])
def test_the_maximum_of_a_pgm_is_white(tmp_path: Path, most: int) -> None:
    values = np.rint(LEVELS * most).astype(">u2" if most > 255 else "u1")
    found = shown(f"P5 {WIDTH} {HEIGHT} {most}\n".encode() + values.tobytes(), tmp_path / "a.pgm")
    np.testing.assert_allclose(found, LEVELS * 255, atol=2)


def test_a_dark_picture_of_16_bits_stays_dark(tmp_path: Path) -> None:
    values = np.rint(LEVELS * 200).astype(">u2")
    assert shown(f"P5 {WIDTH} {HEIGHT} 65535\n".encode() + values.tobytes(), tmp_path / "a.pgm").max() <= 1
    Image.fromarray(values.astype("<u2")).save(tmp_path / "b.png")
    with (tmp_path / "b.png").open("rb") as file:
        assert max(high for _, high in read_frame(file, "b").getextrema()) <= 1


def test_a_transparent_value_of_16_bits_is_paper(tmp_path: Path) -> None:
    values = whole("<u2", 65535)
    Image.fromarray(values).save(tmp_path / "a.png", transparency=0)
    with (tmp_path / "a.png").open("rb") as file:
        found = np.asarray(read_frame(file, "a"))[..., 0]
    assert found[0, 0] == 255
    assert found[0, 1] < 10


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 40), st.sampled_from(["L", "RGB", "RGBA", "P", "1", "LA", "I;16", "F", "CMYK"]), st.integers(1, 9)
)
def test_bands_give_what_the_whole_picture_gives(rows: int, mode: str, factor: int) -> None:
    rng = np.random.default_rng(rows)
    image = Image.fromarray(rng.integers(0, 256, (61, 47, 4)).astype(np.uint8))
    if mode in ("I;16", "F"):
        kind = np.uint16 if mode == "I;16" else np.float32
        image = Image.fromarray(np.asarray(image.convert("L")).astype(kind))
    else:
        image = image if mode == "RGBA" else image.convert("RGB").convert(mode) if mode == "P" else image.convert(mode)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "REDUCE_PIXELS", 61 * 47 // factor**2)
        expected = pictures._to_rgb(image)
        patch.setattr(pictures, "_BAND_PIXELS", rows * 47)
        assert np.array_equal(np.asarray(pictures._to_rgb(image)), np.asarray(expected))
