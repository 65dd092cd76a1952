"""PDF pages come out rendered, whole and in order, and every bad PDF is refused in one helpful sentence."""

from pathlib import Path

import pypdfium2
import pytest

from llava.image_io import PDF_LONG_SIDE, count_pages, load_pages, pages
from tests.model.test_image_io import HEIGHT, WIDTH, encode, refusal, smooth_picture
from tests.pdf_helpers import pdf_bytes


def write_pdf(path: Path, sizes: list[tuple[float, float]]) -> Path:
    document = pypdfium2.PdfDocument.new()
    for width, height in sizes:
        document.new_page(width, height)
    document.save(path)
    document.close()
    return path


def test_all_pages_in_order_with_the_longer_side_bounded(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", [(612, 792), (300, 100), (5000, 5000)])
    pages = load_pages(path)
    assert [page.mode for page in pages] == ["RGB"] * 3
    assert [max(page.size) for page in pages] == pytest.approx([PDF_LONG_SIDE] * 3, abs=1)
    assert [page.width / page.height for page in pages] == pytest.approx([612 / 792, 3, 1], rel=2e-3)


def test_one_page_counts_from_one(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", [(400, 100), (100, 400)])
    (first,), (second,) = load_pages(path, page=1), load_pages(path, page=2)
    assert first.width > first.height
    assert second.width < second.height


@pytest.mark.parametrize("page", [-1, 0, 3])
def test_page_out_of_range(tmp_path: Path, page: int) -> None:
    path = write_pdf(tmp_path / "a.pdf", [(400, 100), (100, 400)])
    assert f"no page {page}; choose a page from 1 to 2" in refusal(lambda: load_pages(path, page=page), str(path))


def test_too_many_pages_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_pdf(tmp_path / "a.pdf", [(40, 50)] * 3)
    monkeypatch.setattr(pages, "MAX_PAGES", 3)
    assert len(load_pages(path)) == 3
    monkeypatch.setattr(pages, "MAX_PAGES", 2)
    assert "3 pages, more than the 2 read at once" in refusal(lambda: load_pages(path), str(path))
    assert len(load_pages(path, page=3)) == 1


def test_a_pdf_is_known_by_its_bytes(tmp_path: Path) -> None:
    written = write_pdf(tmp_path / "a.pdf", [(40, 50)]).read_bytes()
    (tmp_path / "page.png").write_bytes(b"\n" * 20 + written)
    assert load_pages(tmp_path / "page.png")[0].height == pytest.approx(PDF_LONG_SIDE, abs=1)


def test_damaged_encrypted_and_empty(tmp_path: Path) -> None:
    page = ("<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>")
    sheet = "<</Type/Page/Parent 2 0 R/MediaBox[0 0 90 70]>>"
    lock = f"<</Filter/Standard/V 1/R 2/P -4/O<{'ab' * 32}>/U<{'cd' * 32}>>>"
    cases = {
        "sound": pdf_bytes(*page, sheet),
        "encrypted": pdf_bytes(*page, sheet, lock, trailer="/Encrypt 4 0 R/ID[<00><00>]"),
        "has no pages": pdf_bytes(page[0], "<</Type/Pages/Kids[]/Count 0>>"),
        "damaged": b"%PDF-1.7\n" + bytes(range(256)) * 4,
        "page 1 of the PDF is damaged": pdf_bytes(*page, "<</Type/Font>>"),
    }
    for fault, content in cases.items():
        path = tmp_path / f"{fault[:5]}.pdf"
        path.write_bytes(content)
        if fault == "sound":
            assert len(load_pages(path)) == 1
        else:
            assert fault in refusal(lambda path=path: load_pages(path), str(path))


def test_a_sliver_of_a_page(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", [(4000, 10)])
    assert "thinner" in refusal(lambda: load_pages(path), str(path))


def test_what_was_typed_into_a_form_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "form.pdf"
    drawing = "0 0 1 rg 0 0 60 40 re f"
    path.write_bytes(
        pdf_bytes(
            "<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[4 0 R]>>>>",
            "<</Type/Pages/Kids[3 0 R]/Count 1>>",
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 100]/Annots[4 0 R]>>",
            "<</Type/Annot/Subtype/Widget/FT/Tx/T(a)/F 4/Rect[20 20 80 60]/P 3 0 R/AP<</N 5 0 R>>>>",
            f"<</Type/XObject/Subtype/Form/BBox[0 0 60 40]/Length {len(drawing)}>>stream\n{drawing}\nendstream",
        )
    )
    (page,) = load_pages(path)
    red, _, blue = page.getpixel((PDF_LONG_SIDE // 2, PDF_LONG_SIDE * 6 // 10))
    assert blue > red


def test_an_image_is_its_only_page(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    smooth_picture().save(path)
    assert len(load_pages(path)) == len(load_pages(path, page=1)) == 1
    assert "page 2" in refusal(lambda: load_pages(path, page=2), str(path))


def test_pages_are_counted_without_rendering_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages.Pages, "read", None)
    assert count_pages(write_pdf(tmp_path / "a.pdf", [(100, 100)] * 23)) == 23
    smooth_picture().save(tmp_path / "a.png")
    assert count_pages(tmp_path / "a.png") == 1
    broken = tmp_path / "b.pdf"
    broken.write_bytes(b"%PDF-1.7\nnothing")
    assert "damaged" in refusal(lambda: count_pages(broken), str(broken))


def test_an_image_that_mentions_pdf_is_still_an_image(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(encode(smooth_picture(), "GIF", comment=b"from %PDF-1.7"))
    assert b"%PDF-1.7" in path.read_bytes()[:1024]
    assert load_pages(path)[0].size == (WIDTH, HEIGHT)
