"""Pictures of several frames: each can be asked for, and none is passed over in silence."""

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from llava.image_io import count_pages, load_image, load_pages, open_pages, read_page
from tests.model.test_image_io import encode, refusal

COLORS = ("#ff0000", "#00ff00", "#0000ff")


def several(form: str, colors: tuple[str, ...] = COLORS) -> bytes:
    frames = [Image.new("RGB", (17, 13), color) for color in colors]
    return encode(
        frames[0], form, save_all=True, append_images=frames[1:], **({"lossless": True} if form == "WEBP" else {})
    )


@pytest.mark.parametrize("form", ["TIFF", "GIF", "PNG", "WEBP"])
def test_every_frame_can_be_asked_for(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(several(form))
    word = "page" if form == "TIFF" else "frame"
    with open_pages(path) as pages:
        assert (pages.count, pages.word) == (3, word)
        for number in (3, 1, 2):
            assert pages.read(number).image.getcolors() == [(17 * 13, tuple(bytes.fromhex(COLORS[number - 1][1:])))]
        for number in (0, 4, -1):
            message = refusal(lambda number=number: pages.read(number), str(path))
            assert message == f": it has no {word} {number}; choose a {word} from 1 to 3."
    assert load_image(path).getpixel((3, 3)) == (255, 0, 0)


def test_pages_of_a_document_are_not_passed_over_and_frames_are_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it has 3 pages; say which one with page="):
        read_page(BytesIO(several("TIFF")), "a.tif")
    picture = read_page(BytesIO(several("GIF")), "a.gif")
    assert picture.notes == ("a.gif has 3 frames; this is the first",)
    assert read_page(BytesIO(several("GIF")), "a.gif", 2).notes == ()
    (tmp_path / "a.tif").write_bytes(several("TIFF"))
    (tmp_path / "a.gif").write_bytes(several("GIF"))
    assert (len(load_pages(tmp_path / "a.tif")), len(load_pages(tmp_path / "a.gif"))) == (3, 1)


def with_subfile_types(kinds: tuple[int, ...]) -> bytes:
    """A TIFF whose pages are what ``NewSubfileType`` says."""
    file = BytesIO()
    from PIL import TiffImagePlugin

    with TiffImagePlugin.AppendingTiffWriter(file) as out:
        for kind, color in zip(kinds, COLORS, strict=False):
            Image.new("RGB", (17, 13), color).save(out, "TIFF", tiffinfo={254: kind})
            out.newFrame()
    return file.getvalue()


def test_smaller_copies_and_masks_are_no_pages(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(with_subfile_types((0, 1, 2)))
    with open_pages(path) as pages:
        assert pages.count == 2
        assert pages.read(2).image.getpixel((3, 3)) == (0, 0, 255)


def test_a_damaged_page_behind_the_others_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    data = bytearray(several("TIFF"))
    with Image.open(BytesIO(data)) as image:
        image.seek(2)
        place = image._frame_pos[2]
    data[place : place + 40] = b"\xff" * 40
    path.write_bytes(data)
    with open_pages(path) as pages:
        assert pages.count == 2
        assert pages.read(1).notes == (f"{path}: what follows page 2 is damaged",)
        assert "no page 3 that can be read (what follows page 2 is damaged)" in refusal(
            lambda: pages.read(3), str(path)
        )


def test_a_count_needs_no_decoding(tmp_path: Path) -> None:
    for form in ("TIFF", "GIF"):
        (tmp_path / form).write_bytes(several(form))
        assert count_pages(tmp_path / form) == 3


@pytest.mark.parametrize(
    ("compression", "start", "count"),
    [("tiff_deflate", 60, 800), ("tiff_lzw", 60, 800), ("tiff_lzw", 1000, 800), ("group4", 60, 800), ("jpeg", 900, 0)],
)
def test_damaged_rows_are_refused_or_noted_and_no_library_writes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], compression: str, start: int, count: int
) -> None:
    """Zeros in the middle, or an end that is missing."""
    noise = Image.effect_noise((400, 200), 60)
    sound = encode(noise.convert("1") if compression == "group4" else noise, "TIFF", compression=compression)
    path = tmp_path / "a.tif"
    path.write_bytes(sound)
    with open_pages(path) as pages:
        assert pages.read(1).notes == ()
    if count:
        path.write_bytes(sound[:start] + bytes(count) + sound[start + count :])
    else:  # the directory stands at the end, so that what is missing is in front of it
        path.write_bytes(sound[:8] + bytes(start) + sound[8 + start :])
    try:
        with open_pages(path) as pages:
            said = pages.read(1).notes
    except ValueError as error:
        said = (str(error),)
    assert said
    assert str(path) in said[0]
    assert capfd.readouterr().err == ""


def test_a_checksum_that_does_not_fit_is_damage(tmp_path: Path) -> None:
    data = bytearray(encode(Image.effect_noise((90, 70), 50), "PNG"))
    place = data.index(b"IDAT")
    length = int.from_bytes(data[place - 4 : place], "big")
    data[place + 4 + length] ^= 1
    (tmp_path / "a.png").write_bytes(data)
    assert "a checksum does not fit" in refusal(lambda: load_image(tmp_path / "a.png"), "a.png")
