"""What PDFium does not draw of a page is noted, or the page is refused when nothing of it can be drawn."""

from pathlib import Path

import pytest

from llava.image_io import load_pages, open_pages
from tests.model.test_image_io import refusal
from tests.pdf_helpers import HELVETICA, one_page, stream

XFA = "it is an XFA form, and the form's contents cannot be drawn; open it in Adobe Reader and print it to a new PDF"
CONFIG = "<config><acrobat><acrobat7><dynamicRender>required</dynamicRender></acrobat7></acrobat></config>"
FIELD = "<</Type/Annot/Subtype/Widget/FT/Tx/T(a)/F 4/Rect[20 20 80 60]/P 3 0 R>>"
BOX = "/MediaBox[0 0 300 200]"


def notes_of(path: Path) -> tuple[str, ...]:
    with open_pages(path) as pages:
        notes = pages.read(1).notes
    assert all(note.startswith(f"{path}: ") for note in notes)
    return tuple(note.removeprefix(f"{path}: ") for note in notes)


@pytest.mark.parametrize(
    ("catalog", "page", "packet"),
    [
        ("/NeedsRendering true/AcroForm<</Fields[]/XFA 6 0 R>>", BOX, "<template/>"),
        ("/NeedsRendering true/AcroForm<</Fields[7 0 R]/XFA 6 0 R>>", f"{BOX}/Annots[7 0 R]", "<template/>"),
        ("/AcroForm<</Fields[]/XFA[(template) 6 0 R (datasets) 6 0 R]>>", BOX, "<template/>"),
        ("/AcroForm<</Fields[7 0 R]/XFA[(config) 6 0 R]>>", f"{BOX}/Annots[7 0 R]", CONFIG),
    ],
    ids=["told", "told, with fields", "no fields", "by its settings"],
)
def test_a_form_that_its_reader_must_draw_is_refused(tmp_path: Path, catalog: str, page: str, packet: str) -> None:
    more = [HELVETICA, stream(packet), FIELD]
    path = one_page(tmp_path / "a.pdf", catalog=catalog, page=page, more=more)
    assert XFA in refusal(lambda: load_pages(path), str(path))


def test_a_form_with_fields_of_its_own_is_drawn_with_a_note(tmp_path: Path) -> None:
    path = one_page(
        tmp_path / "a.pdf",
        catalog="/AcroForm<</Fields[7 0 R]/XFA 6 0 R>>",
        page=f"{BOX}/Annots[7 0 R]",
        more=[HELVETICA, stream("<template/>"), FIELD],
    )
    assert notes_of(path) == ("it is an XFA form, of which only the plain fields are drawn; their values may differ",)


@pytest.mark.parametrize("name", ["Helvetica-Bold", "Arial,BoldItalic", "ArialMT", "TimesNewRomanPS-BoldMT", "Courier"])
def test_fonts_that_every_reader_has_are_not_noted(tmp_path: Path, name: str) -> None:
    font = f"<</Type/Font/Subtype/TrueType/BaseFont/{name}>>"
    assert notes_of(one_page(tmp_path / "a.pdf", more=[font])) == ()


@pytest.mark.parametrize("inside", [False, True], ids=["on the page", "in a form"])
@pytest.mark.parametrize("name", ["ABCDEF+Garamond-Premier", "Wingdings", "HeiseiMin-W3"])
def test_fonts_that_are_not_embedded_are_noted(tmp_path: Path, name: str, inside: bool) -> None:
    font = f"<</Type/Font/Subtype/TrueType/BaseFont/{name}>>"
    form = "/Type/XObject/Subtype/Form/BBox[0 0 300 200]/Resources<</Font<</F 5 0 R>>>>"
    words = "BT /F 24 Tf 20 100 Td (Total 42) Tj ET"
    more = [font, stream(words, form)]
    held = "/Font<</F 5 0 R>>/XObject<</X 6 0 R>>"
    path = one_page(tmp_path / "a.pdf", text="/X Do" if inside else words, resources=held, more=more)
    assert notes_of(path) == (f"fonts that are not embedded are drawn with others: {name.split('+')[-1]}",)


def picture(path: Path, entries: str, data: str) -> Path:
    image = stream(data, f"/Type/XObject/Subtype/Image/Width 20 /Height 10{entries}")
    return one_page(path, text="q 200 0 0 100 20 20 cm /I Do Q", resources="/XObject<</I 5 0 R>>", more=[image])


GRAY = "/ColorSpace/DeviceGray/BitsPerComponent 8"


@pytest.mark.parametrize("name", ["FooDecode", "JPXDecode", "JBIG2Decode", "DCTDecode"])
def test_pictures_that_cannot_be_decoded_are_noted(tmp_path: Path, name: str) -> None:
    path = picture(tmp_path / "a.pdf", f"{GRAY}/Filter/{name}", "garbage" * 20)
    assert notes_of(path) == (f"a picture cannot be decoded and is left out ({name})",)


@pytest.mark.parametrize(("entries", "data"), [("", "x" * 20), ("/Filter/FlateDecode", "garbage" * 20)])
def test_pictures_that_lack_rows_are_noted(tmp_path: Path, entries: str, data: str) -> None:
    assert notes_of(picture(tmp_path / "a.pdf", GRAY + entries, data)) == ("a picture is damaged: rows are missing",)


def test_sound_pictures_are_not_noted(tmp_path: Path) -> None:
    assert notes_of(picture(tmp_path / "a.pdf", GRAY, "x" * 200)) == ()
    assert notes_of(picture(tmp_path / "a.pdf", "/ImageMask true/BitsPerComponent 1", "x" * 30)) == ()


@pytest.mark.parametrize(
    ("kind", "what"),
    [("3D", "a 3D drawing"), ("Movie", "a film"), ("RichMedia", "media"), ("FileAttachment", "attached files")],
)
def test_media_are_noted(tmp_path: Path, kind: str, what: str) -> None:
    laid_over = f"/Annots[<</Type/Annot/Subtype/{kind}/Rect[10 10 90 90]>>]"
    assert notes_of(one_page(tmp_path / "a.pdf", page=BOX + laid_over)) == (f"it holds {what}, which cannot be shown",)


def test_other_files_inside_are_noted(tmp_path: Path) -> None:
    portfolio = one_page(tmp_path / "a.pdf", catalog="/Collection<</Type/Collection>>")
    assert notes_of(portfolio) == ("it holds a portfolio of other files, which cannot be shown",)
    file = ["<</Type/Filespec/F(a.txt)/EF<</F 7 0 R>>>>", stream("hi", "/Type/EmbeddedFile")]
    attached = one_page(
        tmp_path / "b.pdf", catalog="/Names<</EmbeddedFiles<</Names[(a.txt) 6 0 R]>>>>", more=[HELVETICA, *file]
    )
    assert notes_of(attached) == ("it holds attached files, which cannot be shown",)


def test_an_annotation_without_an_appearance_is_noted(tmp_path: Path) -> None:
    laid_over = "/Annots[<</Type/Annot/Subtype/Stamp/Rect[10 10 90 90]>>]"
    path = one_page(tmp_path / "a.pdf", page=BOX + laid_over)
    assert notes_of(path) == ("an annotation has no appearance and cannot be shown",)


@pytest.mark.parametrize(
    "page",
    [
        f"{BOX}/CropBox[1000 1000 1200 1200]",
        f"{BOX}/CropBox[300 0 400 200]",
        f"{BOX}/CropBox[-50 -50 0 200]",
        "/MediaBox[0 0 0 0]",
        "/MediaBox[0 0 nan 200]",
        "/MediaBox[0 0 1e30 1e30]",
        "/MediaBox[10 10 10 500]",
        "/MediaBox[0 0 300]",
    ],
)
def test_boxes_that_leave_nothing_are_refused(tmp_path: Path, page: str) -> None:
    path = one_page(tmp_path / "a.pdf", page=page)
    assert "the boxes of page 1 leave nothing of it to be seen; print it to a new PDF" in refusal(
        lambda: load_pages(path), str(path)
    )


@pytest.mark.parametrize(
    "page", ["/MediaBox[300 200 0 0]", f"{BOX}/UserUnit 1e30", f"{BOX}/UserUnit -5", f"{BOX}/UserUnit 0"]
)
def test_odd_boxes_that_leave_the_page_are_drawn(tmp_path: Path, page: str) -> None:
    path = one_page(tmp_path / "a.pdf", page=page)
    (image,) = load_pages(path)
    assert image.size == (2000, 1334)
    assert image.convert("L").getextrema()[0] < 50


def test_an_empty_crop_box_is_noted(tmp_path: Path) -> None:
    path = one_page(tmp_path / "a.pdf", page=f"{BOX}/CropBox[10 10 10 100]")
    assert notes_of(path) == ("its crop box is empty, so that the whole page is shown",)
