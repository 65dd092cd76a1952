"""The programs that draw pages, each as a function from a source to a PDF without a date of its own.

Chromium, LibreOffice, LaTeX, gnuplot, groff and Ghostscript are Debian's; typst and vl-convert-python come from PyPI,
as does pikepdf, which makes the files small.
"""

import json
import logging
import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

_EPOCH = {"SOURCE_DATE_EPOCH": "1735689600", "FORCE_SOURCE_DATE": "1", "TZ": "UTC", "LC_ALL": "C.UTF-8"}
_SECONDS = 180


def _call(words: list[str], folder: Path, *, text: str | None = None) -> bytes:
    """What a program prints; it runs in a folder of its own.

    Raises:
        RuntimeError: if it fails, with the end of what it said.
    """
    environment = {**_EPOCH, "HOME": str(folder), "PATH": "/usr/local/bin:/usr/bin:/bin"}
    done = subprocess.run(
        words,
        cwd=folder,
        env=environment,
        input=None if text is None else text.encode(),
        capture_output=True,
        timeout=_SECONDS,
    )
    if done.returncode:
        raise RuntimeError(f"{words[0]} failed: {(done.stdout + done.stderr)[-1500:].decode(errors='replace')}")
    return done.stdout


def _made(ending: str, text: str, *words: str, out: str = "page.pdf") -> bytes:
    """The PDF that a program makes of a file ``page`` with this ending."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / f"page.{ending}").write_text(text, encoding="utf-8")
        _call(list(words), folder)
        return (folder / out).read_bytes()


def chromium(source: str) -> bytes:
    """HTML; its style sheet says how large the page is."""
    words = ("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer")
    return _made("html", source, *words, "--print-to-pdf=page.pdf", "page.html")


def libreoffice(source: str) -> bytes:
    """A flat OpenDocument text or sheet."""
    ending = "fods" if "office:spreadsheet>" in source else "fodt"
    return _made(ending, source, "soffice", "--headless", "--convert-to", "pdf", f"page.{ending}")


def latex(source: str) -> bytes:
    """LaTeX, with pdfTeX."""
    return _made("tex", source, "pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex")


def gnuplot(source: str) -> bytes:
    """A script of gnuplot that writes ``page.pdf``."""
    return _made("gp", source, "gnuplot", "page.gp")


def groff(source: str) -> bytes:
    """Input of troff with tbl's tables and the macros ms, in UTF-8; Ghostscript puts in what is used of the faces."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = _call(["groff", "-k", "-t", "-ms", "-Tpdf", "-P-p6.2i,6.5i"], folder, text=source)
        (folder / "plain.pdf").write_bytes(made)
        _call(["gs", "-q", "-sDEVICE=pdfwrite", "-dPDFSETTINGS=/prepress", "-o", "page.pdf", "plain.pdf"], folder)
        return (folder / "page.pdf").read_bytes()


def typst(source: str) -> bytes:
    """Typst."""
    import typst as compiler

    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "page.typ")
        path.write_text(source, encoding="utf-8")
        made: bytes = compiler.compile(str(path), timestamp=int(_EPOCH["SOURCE_DATE_EPOCH"]))
        return made


def vega(source: str) -> bytes:
    """A specification of Vega-Lite."""
    import vl_convert

    made: bytes = vl_convert.vegalite_to_pdf(json.loads(source))
    return made


PROGRAMS: Mapping[str, Callable[[str], bytes]] = {
    "chromium": chromium, "libreoffice": libreoffice, "latex": latex, "gnuplot": gnuplot, "groff": groff,
    "typst": typst, "vega": vega,
}  # fmt: skip


def without_dates(pdf: bytes) -> bytes:
    """The same PDF, byte for byte as long, made on New Year's Day."""
    pdf = re.sub(rb"\(D:\d{14}", b"(D:20250101000000", pdf)
    pdf = re.sub(rb"(?<=\(D:20250101000000)[+-]\d\d'\d\d'", b"+00'00'", pdf)
    zero: Callable[[re.Match[bytes]], Any] = lambda found: re.sub(rb"[0-9A-Fa-f]", b"0", found[0])  # noqa: E731
    pdf = re.sub(rb"/ID ?\[\s*<[0-9A-Fa-f]+>\s*<[0-9A-Fa-f]+>\s*\]", zero, pdf)
    return re.sub(rb"/DocChecksum /[0-9A-F]+", lambda found: found[0][:14] + b"0" * (len(found[0]) - 14), pdf)


def slimmed(pdf: bytes) -> bytes:
    """The same page in fewer bytes: without the outline of its text, and its faces without what PDFs do not need."""
    import pikepdf

    with pikepdf.open(BytesIO(pdf)) as document:
        for name in ("/StructTreeRoot", "/MarkInfo", "/Outlines", "/Metadata", "/OpenAction"):
            if name in document.Root:
                del document.Root[name]
        for thing in list(document.objects):
            if isinstance(thing, pikepdf.Dictionary) and "/FontFile2" in thing:
                thing.FontFile2.write(_slimmed_face(thing.FontFile2.read_bytes()))
        out = BytesIO()
        document.remove_unreferenced_resources()
        modes = pikepdf.ObjectStreamMode.generate
        document.save(out, object_stream_mode=modes, compress_streams=True, recompress_flate=True, static_id=True)
    return out.getvalue()


def _slimmed_face(data: bytes) -> bytes:
    """A TrueType face with its outlines and widths alone; PDFium draws without hints."""
    from fontTools.ttLib import TTFont

    logging.getLogger("fontTools").setLevel(logging.ERROR)  # it warns of the age of faces
    face = TTFont(BytesIO(data), recalcBBoxes=False, recalcTimestamp=False)
    face["maxp"]  # read before tables go
    for name in set(face.reader.keys()) - {"head", "hhea", "hmtx", "maxp", "loca", "glyf", "cmap"}:
        del face[name]
    if "glyf" in face:
        for glyph in face["glyf"].glyphs.values():
            glyph.expand(face["glyf"])
            glyph.removeHinting()
    out = BytesIO()
    face.save(out, reorderTables=None)
    return out.getvalue()
