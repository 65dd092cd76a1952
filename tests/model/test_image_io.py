"""Pictures come out right whatever the file holds, and every bad file is refused in one helpful sentence."""

import base64
import os
import resource
import struct
import warnings
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from llava.image_io import MAX_PIXELS, decode_base64_image, load_image, load_pages, pictures

WIDTH, HEIGHT = 17, 13


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def smooth_picture(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, (x + y) * 4 % 256], -1).astype(np.uint8))


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def forged_png(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(bytes(100))), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def refusal(call: Callable[[], object], name: str, kind: type[Exception] = ValueError) -> str:
    """Fault and mend of the refusal, after checking that it is one sentence that names the file."""
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert message.startswith("Cannot read ")
    assert message.endswith(".")
    assert name in message
    assert "; " in message
    assert "\n" not in message
    return message.partition(name)[2]


class TestFormats:
    @pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000"])
    def test_lossless_formats_keep_every_pixel(self, tmp_path: Path, form: str) -> None:
        path = tmp_path / "no_ending"
        path.write_bytes(encode(smooth_picture(), form, **({"lossless": True} if form == "WEBP" else {})))
        loaded = load_image(path)
        assert loaded.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(loaded), np.asarray(smooth_picture()))

    @pytest.mark.parametrize("form", ["JPEG", "AVIF"])
    def test_lossy_formats_come_close(self, tmp_path: Path, form: str) -> None:
        path = tmp_path / "a.jpg"
        path.write_bytes(encode(smooth_picture(), form, quality=98))
        difference = np.asarray(load_image(path)).astype(int) - np.asarray(smooth_picture())
        assert abs(difference).mean() < 8

    def test_the_name_may_lie_about_the_format(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_bytes(encode(smooth_picture(), "PNG"))
        assert load_image(str(tmp_path / "a.jpg")).size == (WIDTH, HEIGHT)

    @pytest.mark.parametrize("form", ["GIF", "TIFF", "WEBP"])
    def test_of_an_animation_it_is_the_first_frame(self, tmp_path: Path, form: str) -> None:
        frames = [Image.new("RGB", (WIDTH, HEIGHT), color) for color in ("#ff0000", "#00ff00", "#0000ff")]
        frames[0].save(tmp_path / "a", form, save_all=True, append_images=frames[1:], lossless=True)
        assert load_image(tmp_path / "a").getcolors() == [(WIDTH * HEIGHT, (255, 0, 0))]

    def test_the_picture_outlives_its_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        smooth_picture().save(path)
        loaded = load_image(path)
        path.unlink()
        assert loaded.getpixel((3, 2)) == smooth_picture().getpixel((3, 2))


def composite_by_loops(pixels: np.ndarray) -> np.ndarray:
    """Each color mixed with white paper by its alpha, one number at a time."""
    result = np.zeros((*pixels.shape[:2], 3))
    for y in range(pixels.shape[0]):
        for x in range(pixels.shape[1]):
            alpha = pixels[y, x, 3] / 255
            for channel in range(3):
                result[y, x, channel] = pixels[y, x, channel] * alpha + 255 * (1 - alpha)
    return result


class TestModes:
    @settings(max_examples=10, deadline=None)
    @given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1, 255]))
    def test_alpha_lies_on_white(self, tmp_path_factory: pytest.TempPathFactory, seed: int, scale: int) -> None:
        pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 4)).astype(np.uint8)
        pixels[..., 3] //= scale
        path = tmp_path_factory.mktemp("alpha") / "a.png"
        Image.fromarray(pixels).save(path)
        np.testing.assert_allclose(np.asarray(load_image(path)), composite_by_loops(pixels), atol=1)

    def test_gray_with_alpha(self, tmp_path: Path) -> None:
        Image.new("LA", (WIDTH, HEIGHT), (100, 51)).save(tmp_path / "a.png")
        assert load_image(tmp_path / "a.png").getpixel((5, 5)) == (224, 224, 224)

    def test_palette_and_its_transparent_entries(self, tmp_path: Path) -> None:
        image = Image.new("P", (WIDTH, HEIGHT), 1)
        image.putpalette([0, 0, 0, 10, 20, 30, 200, 100, 50])
        image.putpixel((4, 7), 2)
        image.save(tmp_path / "plain.png")
        assert load_image(tmp_path / "plain.png").getpixel((0, 0)) == (10, 20, 30)
        image.save(tmp_path / "clear.png", transparency=1)
        assert load_image(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)
        assert load_image(tmp_path / "clear.png").getpixel((4, 7)) == (200, 100, 50)

    def test_one_bit(self, tmp_path: Path) -> None:
        image = Image.new("1", (WIDTH, HEIGHT))
        image.putpixel((6, 3), 1)
        image.save(tmp_path / "a.png")
        loaded = load_image(tmp_path / "a.png")
        assert (loaded.getpixel((6, 3)), loaded.getpixel((3, 6))) == ((255,) * 3, (0,) * 3)

    @pytest.mark.parametrize("form", ["TIFF", "JPEG"])
    def test_print_colors(self, tmp_path: Path, form: str) -> None:
        (tmp_path / "a").write_bytes(encode(Image.new("CMYK", (WIDTH, HEIGHT), (255, 0, 0, 0)), form))
        assert load_image(tmp_path / "a").getpixel((2, 2)) == (0, 255, 255)

    @pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
    def test_16_bit_gray_is_scaled_over_its_whole_range(self, tmp_path: Path, form: str) -> None:
        levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
        (tmp_path / "a").write_bytes(encode(Image.fromarray(levels), form))
        gray = np.asarray(load_image(tmp_path / "a"))[..., 1].astype(float)
        assert abs(gray - levels / 257).max() <= 0.51

    def test_16_bit_big_endian(self, tmp_path: Path) -> None:
        levels = (np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) * 257).astype(">u2")
        Image.fromarray(levels).save(tmp_path / "a.tif")
        np.testing.assert_array_equal(np.asarray(load_image(tmp_path / "a.tif"))[..., 0], levels // 257)

    @pytest.mark.parametrize(
        ("numbers", "expected"),
        [
            ((0.0, 0.5, 1.0), (0, 128, 255)),
            ((0.0, 60.0, 200.0), (0, 60, 200)),
            ((-100.0, 0.0, 300.0), (0, 64, 255)),
            ((float("nan"), 0.25, float("inf")), (0, 64, 0)),
            ((-3e38, 0.0, 3e38), (0, 128, 255)),
            ((900.0, 900.0, 900.0), (0, 0, 0)),
        ],
    )
    def test_floats(self, tmp_path: Path, numbers: tuple[float, ...], expected: tuple[int, ...]) -> None:
        rows = np.repeat(np.array(numbers, dtype=np.float32), 8)[:, None].repeat(11, axis=1)
        Image.fromarray(rows).save(tmp_path / "a.tif")
        assert tuple(np.asarray(load_image(tmp_path / "a.tif"))[::8, 5, 2]) == expected

    def test_32_bit_integers(self, tmp_path: Path) -> None:
        values = np.zeros((HEIGHT, WIDTH), dtype=np.int32)
        values[0, :2] = 25700, 257
        Image.fromarray(values).save(tmp_path / "a.tif")
        assert list(np.asarray(load_image(tmp_path / "a.tif"))[0, :3, 0]) == [100, 1, 0]
        Image.fromarray(values - 100_000).save(tmp_path / "b.tif")
        assert list(np.asarray(load_image(tmp_path / "b.tif"))[0, :3, 0]) == [255, 3, 0]


UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: stored[::-1].swapaxes(0, 1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: stored.swapaxes(0, 1)[::-1],
}


class TestOrientation:
    @pytest.mark.parametrize("tag", UPRIGHT)
    @pytest.mark.parametrize("form", ["PNG", "TIFF"])
    def test_pictures_come_out_upright(self, tmp_path: Path, form: str, tag: int) -> None:
        exif = Image.Exif()
        exif[274] = tag
        (tmp_path / "a").write_bytes(encode(smooth_picture(), form, exif=exif))
        np.testing.assert_array_equal(
            np.asarray(load_image(tmp_path / "a")), UPRIGHT[tag](np.asarray(smooth_picture()))
        )

    def test_broken_metadata_does_not_cost_the_picture(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(encode(smooth_picture(), "PNG", exif=b"MM\x01*\0\0\0\x08 no header"))
        (tmp_path / "b.jpg").write_bytes(encode(smooth_picture(), "JPEG", exif=b"Exif\0\0no header at all"))
        assert load_image(tmp_path / "a.png").size == load_image(tmp_path / "b.jpg").size == (WIDTH, HEIGHT)


class TestSize:
    @pytest.mark.parametrize("limit", ["Pillow's own", None])
    @pytest.mark.parametrize("size", [(60_000, 60_000), (MAX_PIXELS // 1000 + 1, 1000)])
    def test_a_forged_header_is_refused_before_anything_is_decoded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], limit: str | None
    ) -> None:
        if limit is None:
            monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
        monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("decoded"))
        (tmp_path / "bomb.png").write_bytes(forged_png(*size))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert "header claims" in refusal(lambda: load_image(tmp_path / "bomb.png"), "bomb.png")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # the pixels need 440 MB or more

    def test_the_limit_itself_is_not_refused(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        smooth_picture().save(tmp_path / "a.png")
        monkeypatch.setattr(pictures, "MAX_PIXELS", WIDTH * HEIGHT)
        assert load_image(tmp_path / "a.png").size == (WIDTH, HEIGHT)
        monkeypatch.setattr(pictures, "MAX_PIXELS", WIDTH * HEIGHT - 1)
        assert "17 x 13" in refusal(lambda: load_image(tmp_path / "a.png"), "a.png")

    def test_pillows_warning_stays_silent_here_and_alive_elsewhere(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        smooth_picture().save(tmp_path / "a.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", WIDTH * HEIGHT - 1)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            load_image(tmp_path / "a.png")
        assert not seen
        with pytest.warns(Image.DecompressionBombWarning), Image.open(tmp_path / "a.png"):
            pass

    @pytest.mark.parametrize("size", [(1, 1), (7, 50), (50, 7)])
    def test_slivers_are_refused(self, tmp_path: Path, size: tuple[int, int]) -> None:
        Image.new("RGB", size).save(tmp_path / "a.png")
        assert f"{size[0]} x {size[1]} pixels" in refusal(lambda: load_image(tmp_path / "a.png"), "a.png")

    def test_eight_pixels_are_enough(self, tmp_path: Path) -> None:
        Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
        assert load_image(tmp_path / "a.png").size == (8, 8)

    def test_large_pictures_are_averaged_down(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pixels = np.random.default_rng(3).integers(0, 256, (60, 90, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "a.png")
        monkeypatch.setattr(pictures, "REDUCE_PIXELS", 60 * 90 // 9)
        expected = pixels.reshape(20, 3, 30, 3, 3).mean(axis=(1, 3))
        np.testing.assert_allclose(np.asarray(load_image(tmp_path / "a.png")), expected, atol=1)

    def test_large_jpegs_are_decoded_small(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        picture = smooth_picture(180, 120)
        picture.save(tmp_path / "a.jpg", quality=95)
        monkeypatch.setattr(
            pictures, "REDUCE_PIXELS", 180 * 120 // 9
        )  # scales are 1, 1/2, 1/4, 1/8: a third is a quarter
        monkeypatch.setattr(Image.Image, "reduce", lambda image, factor: pytest.fail("decoded too large"))
        loaded = load_image(tmp_path / "a.jpg")
        assert loaded.size == (45, 30)
        expected = np.asarray(picture.resize((45, 30), Image.Resampling.BOX)).astype(int)
        assert abs(np.asarray(loaded) - expected)[..., :2].mean() < 4

    @pytest.mark.parametrize("form", ["PNG", "JPEG"])
    @pytest.mark.parametrize("size", [(230, 170), (1009, 31), (31, 1009), (2003, 9)])
    def test_shrinking_keeps_to_the_limit_and_leaves_no_sliver(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, size: tuple[int, int]
    ) -> None:
        (tmp_path / "a").write_bytes(encode(smooth_picture(*size), form))
        monkeypatch.setattr(pictures, "REDUCE_PIXELS", 4000)
        width, height = load_image(tmp_path / "a").size
        assert min(width, height) >= 8
        assert width * height <= 4500 or min(size) // 8 < 4
        assert width / height == pytest.approx(size[0] / size[1], rel=0.15)


class TestRefusals:
    @pytest.mark.parametrize(
        ("content", "fault"),
        [
            (b"", "empty"),
            (b"just a note\n", "text"),
            (b"x" + "\u00e9".encode() * 1000, "text"),
            (b"<!DOCTYPE html><title>404</title>", "web page"),
            (b"\xef\xbb\xbf\n<HTML><body>", "web page"),
            (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
            (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "HEIC"),
            (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n", "text"),
            (b"PK\x03\x04\x14\x00\x00\x00", "format is not supported"),
            (b"%PDF-1.7\n", "load_pages"),
            (b"\x89PNG\r\n\x1a\n", "header is damaged"),
            (b"\xff\xd8\xff", "header is damaged"),
            (b"II*\x00", "header is damaged"),
            (forged_png(0, 40), "damaged"),
            (forged_png(40, 40), "cannot be decoded"),
            (encode(Image.effect_noise((90, 70), 50), "PNG")[:3000], "cannot be decoded"),
            (encode(smooth_picture(90, 70), "JPEG")[:900], "cannot be decoded"),
            (encode(smooth_picture(90, 70), "PNG").replace(b"IHDR", b"IHDX"), "damaged"),
        ],
    )
    def test_what_is_no_sound_image(self, tmp_path: Path, content: bytes, fault: str) -> None:
        path = tmp_path / "a.png"
        path.write_bytes(content)
        assert fault in refusal(lambda: load_image(path), str(path))

    def test_missing_file(self, tmp_path: Path) -> None:
        path = tmp_path / "none.png"
        assert "no such file" in refusal(lambda: load_image(path), str(path), FileNotFoundError)
        (tmp_path / "file").write_text("x")
        beyond = tmp_path / "file" / "a.png"
        assert "no such file" in refusal(lambda: load_pages(beyond), str(beyond), FileNotFoundError)

    def test_directory(self, tmp_path: Path) -> None:
        assert "a directory" in refusal(lambda: load_image(tmp_path), str(tmp_path))

    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.png")
        assert "pipe" in refusal(lambda: load_image(tmp_path / "pipe.png"), "pipe.png")

    def test_permission(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        smooth_picture().save(tmp_path / "a.png")

        def deny(path: Path, mode: str) -> None:  # root may read everything, so the mode of the file proves nothing
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", deny)
        assert "make the file readable" in refusal(lambda: load_image(tmp_path / "a.png"), "a.png")

    @pytest.mark.parametrize(("name", "reason"), [("x" * 5000, "too long"), ("a\0b.png", "null")])
    def test_impossible_names(self, name: str, reason: str) -> None:
        message = refusal(lambda: load_image(name), repr(name))
        assert reason in message
        assert name not in message  # once is enough for a name of any length

    @settings(max_examples=60, deadline=None)
    @given(data=st.data(), form=st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM"]))
    def test_damage_gives_a_picture_or_a_refusal(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, form: str
    ) -> None:
        content = bytearray(encode(smooth_picture(23, 19), form))
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path = tmp_path_factory.mktemp("damage") / "a.png"
        path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
        try:
            outcome = load_image(path).mode
        except ValueError as error:
            outcome = str(error).partition(":")[0]
        assert outcome in ("RGB", f"Cannot read {path}")


class TestBase64:
    @pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
    def test_round_trip(self, prefix: str) -> None:
        text = prefix + base64.encodebytes(encode(smooth_picture(), "PNG")).decode()
        assert "\n" in text
        np.testing.assert_array_equal(np.asarray(decode_base64_image(text)), np.asarray(smooth_picture()))

    @pytest.mark.parametrize(
        ("text", "fault"),
        [("!!!", "not valid base64"), ("abc", "not valid base64"), ("caf\u00e9", "not valid base64"), ("", "empty")],
    )
    def test_refusals(self, text: str, fault: str) -> None:
        assert fault in refusal(lambda: decode_base64_image(text), "the base64 image")

    def test_the_same_rules_hold(self) -> None:
        bomb = base64.b64encode(forged_png(60_000, 60_000)).decode()
        assert "pixels" in refusal(lambda: decode_base64_image(bomb), "the base64 image")
