"""Files of every kind, damaged: a picture, or a refusal of one line, and nothing else."""

from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from llava.image_io import PageLimits, Picture
from llava.inference.picture import open_picture
from tests.fuzz.damage import damaged, refusal_of
from tests.model.test_image_io_pdf import write_pdf

LIMITS = PageLimits(seconds=20, megabytes=512)


def encoded(form: str, mode: str = "RGB", **options: object) -> bytes:
    image = Image.effect_noise((31, 23), 90).convert(mode)
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


PICTURES = [
    encoded("PNG"),
    encoded("PNG", "LA"),
    encoded("PNG", "P"),
    encoded("PNG", "I;16"),
    encoded("JPEG", quality=60),
    encoded("JPEG", "CMYK"),
    encoded("GIF", "P"),
    encoded("WEBP"),
    encoded("BMP"),
    encoded("PPM"),
]


@settings(deadline=None)
@given(data=damaged(PICTURES), page=st.sampled_from([None, None, 1, 2]))
def test_pictures(data: bytes, page: int | None) -> None:
    _open(data, page)


@settings(max_examples=max(20, settings().max_examples // 20), deadline=None)
@given(data=damaged([encoded("TIFF"), encoded("TIFF", "L", compression="tiff_deflate"), encoded("TIFF", "1")]))
def test_tiffs(data: bytes) -> None:
    _open(data, 1)


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_pdf(tmp_path_factory.mktemp("pdf") / "two.pdf", [(90, 70), (50, 70)]).read_bytes()


@settings(max_examples=max(20, settings().max_examples // 20), deadline=None)
@given(data=st.data())
def test_documents(document: bytes, data: st.DataObject) -> None:
    _open(data.draw(damaged([document])), 1)


def _open(data: bytes, page: int | None) -> None:
    found: list[Picture] = []
    error = refusal_of(
        lambda: found.append(open_picture(data, page=page, limits=LIMITS)), ValueError, FileNotFoundError
    )
    told = [str(error)] if error else list(found[0].notes)
    assert all(len(line) > 10 and "\n" not in line for line in told)
    assert error or found[0].image.mode == "RGB"
