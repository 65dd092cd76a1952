"""PDFs written out by hand, with something in them that few programs would write."""

from collections.abc import Sequence
from pathlib import Path

HELVETICA = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
WORDS = "BT /F 24 Tf 20 100 Td (Total 42) Tj ET"


def pdf_bytes(*objects: str, trailer: str = "") -> bytes:
    """A PDF of the given objects, numbered from 1; the first is the catalog."""
    body, offsets = b"%PDF-1.7\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n".encode("latin-1")
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    count = len(objects) + 1
    end = f"xref\n0 {count}\n0000000000 65535 f \n{table}trailer\n<</Size {count}/Root 1 0 R{trailer}>>"
    return body + f"{end}\nstartxref\n{len(body)}\n%%EOF".encode("latin-1")


def stream(text: str, entries: str = "") -> str:
    """An object that holds text."""
    return f"<<{entries}/Length {len(text)}>>stream\n{text}\nendstream"


def one_page(
    path: Path,
    *,
    text: str = WORDS,
    page: str = "/MediaBox[0 0 300 200]",
    resources: str = "/Font<</F 5 0 R>>",
    catalog: str = "",
    more: Sequence[str] = (HELVETICA,),
) -> Path:
    """A PDF of one page; ``more`` are its objects from number 5 on."""
    sheet = f"<</Type/Page/Parent 2 0 R/Resources<<{resources}>>/Contents 4 0 R{page}>>"
    kids = "<</Type/Pages/Kids[3 0 R]/Count 1>>"
    path.write_bytes(pdf_bytes(f"<</Type/Catalog/Pages 2 0 R{catalog}>>", kids, sheet, stream(text), *more))
    return path


def endless(path: Path, levels: int = 12) -> Path:
    """A page that draws a form ten times, which draws another ten times, and so on."""
    form = "/Type/XObject/Subtype/Form/BBox[0 0 300 200]"
    forms = [stream("/X Do " * 10, f"{form}/Resources<</XObject<</X {6 + level} 0 R>>>>") for level in range(levels)]
    return one_page(
        path, text="/X Do", resources="/XObject<</X 5 0 R>>", more=[*forms, stream("0 0 300 200 re f", form)]
    )
