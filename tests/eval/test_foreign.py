"""The pages that other software made: what stands on them, what is asked, and that they can be asked about."""

import ctypes
import json
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pypdfium2
import pytest

from llava.eval.benchmarks.foreign import FOLDER, LONG_SIDE, read_notes
from llava.eval.benchmarks.registry import BENCHMARKS
from scripts.assets.foreign.layouts import LAYOUTS
from scripts.assets.foreign.words import Words
from scripts.assets.make_foreign_pages import make_all, make_page
from shirg.config import ShirgXConfig
from tests.cli_helpers import Call

ABSENT = "not on the page"
UNPRINTED = {"absent", "chart_value", "chart_color", "chart_difference", "rows"}
"""Kinds of which some answers are worked out, and do not stand on the page."""
PAGES, QUESTIONS = read_notes()["pages"], read_notes()["questions"]


@pytest.fixture(scope="module")
def texts() -> dict[str, Any]:
    documents = {name: pypdfium2.PdfDocument(FOLDER / f"{name}.pdf") for name in PAGES}
    return {name: (document[0], document[0].get_textpage()) for name, document in documents.items()}


def plain(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).replace("\u2212", "-").replace("\u2019", "'").split())


def text_in(page: pypdfium2.PdfPage, text: pypdfium2.PdfTextPage, box: list[float]) -> str:
    """What PDFium reads inside a box, from the characters whose middles lie in it."""
    width, height = page.get_size()
    x0, y0, x1, y1 = box
    found, place = [], pypdfium2.raw.FS_RECTF()
    for index in range(text.count_chars()):
        if not pypdfium2.raw.FPDFText_GetLooseCharBox(text, index, ctypes.byref(place)):
            continue
        x, y = (place.left + place.right) / 2 / width, 1 - (place.top + place.bottom) / 2 / height
        if x0 <= x <= x1 and y0 <= y <= y1:
            code = pypdfium2.raw.FPDFText_GetUnicode(text, index)
            found.append("-" if code == 2 else chr(code))
    return plain("".join(found))


def test_every_answer_stands_on_its_page_where_it_is_said_to(texts: dict[str, Any]) -> None:
    for asked in QUESTIONS:
        if asked["printed"]:
            assert text_in(*texts[asked["page"]], asked["evidence"][0]) == plain(asked["answers"][0]), asked["id"]
        else:
            assert asked["kind"] in UNPRINTED
        assert all(0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1 for x0, y0, x1, y1 in asked["evidence"])


def test_the_sizes_of_print_are_those_of_the_pages(texts: dict[str, Any]) -> None:
    sizes = [page["letters"] for page in PAGES.values()]
    assert sum(9 <= size <= 30 for size in sizes) > 0.9 * len(sizes)
    assert min(sizes) < 12
    assert max(sizes) > 24
    for name, (page, _) in texts.items():
        width, height = page.get_size()
        assert PAGES[name]["shape"] == pytest.approx(width / height, abs=0.006)
    shapes = [page["shape"] for page in PAGES.values()]
    assert min(shapes) < 0.6
    assert max(shapes) > 2


def test_there_are_many_pages_layouts_and_programs() -> None:
    assert len(PAGES) >= 60
    assert len(QUESTIONS) >= 300
    assert len({page["layout"] for page in PAGES.values()}) >= 8
    assert len({page["program"] for page in PAGES.values()}) >= 4
    assert {path.stem for path in FOLDER.glob("*.pdf")} == set(PAGES) == {asked["page"] for asked in QUESTIONS}
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 3 * 2**20


def test_answers_are_not_of_a_short_list() -> None:
    counts = Counter(asked["answers"][0].lower() for asked in QUESTIONS)
    absent = counts.pop(ABSENT)
    assert 0.05 < absent / len(QUESTIONS) < 0.08
    assert max(counts.values()) <= 8, counts.most_common(3)
    assert len(counts) > 0.8 * (len(QUESTIONS) - absent)
    assert all((asked["kind"] == "absent") == (asked["answers"] == [ABSENT]) for asked in QUESTIONS)


def test_splits_share_no_page_and_no_layout() -> None:
    layouts, pages, ids = {}, {}, []
    for split in ("test", "validation"):
        samples = list(BENCHMARKS["foreign"].samples(split=split))
        ids += [sample.id for sample in samples]
        pages[split] = {sample.page.removeprefix("foreign/") for sample in samples}
        layouts[split] = {(PAGES[page]["program"], PAGES[page]["layout"]) for page in pages[split]}
    assert not pages["test"] & pages["validation"]
    assert not layouts["test"] & layouts["validation"]
    assert len(set(ids)) == len(ids) == len(QUESTIONS)
    assert 0.25 < len(pages["validation"]) / len(PAGES) < 0.42


def test_pages_are_rendered_at_twice_the_view() -> None:
    sample = next(iter(BENCHMARKS["foreign"].samples(split="test")))
    assert max(sample.image.size) == LONG_SIDE
    assert sample.image.mode == "RGB"


def test_the_benchmark_runs(call: Call, tmp_path: Path) -> None:
    words = ("--tokens", "4", "--batch-size", "2", "--device", "cpu", "--budget", "48", "--questions", "3")
    shown, _ = call("eval", "--benchmark", "foreign", "--split", "validation", *words, "--out", tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["num_questions"], summary["settings"]["split"], summary["settings"]["style"]) == (
        3,
        "validation",
        None,
    )
    assert summary["settings"]["metrics"] == ["anls", "exact_match"]
    assert "anls" in shown


def test_a_style_or_data_is_refused() -> None:
    with pytest.raises(ValueError, match="foreign is not drawn and has no style 'full'"):
        BENCHMARKS["foreign"].check(split="test", style="full")
    with pytest.raises(ValueError, match="foreign has its pages with it and reads no data; leave 'x' out"):
        BENCHMARKS["foreign"].check(split="test", style=None, data="x")


def test_the_same_seed_makes_the_same_words_and_pages(tmp_path: Path) -> None:
    layout = next(layout for layout in LAYOUTS if (layout.program, layout.name) == ("matplotlib", "bars"))
    (first, draft), (second, _) = make_page(layout, 1), make_page(layout, 1)
    assert first == second
    assert draft.asks == make_page(layout, 1)[1].asks != make_page(layout, 2)[1].asks
    make_all(tmp_path, [layout])
    made = json.loads((tmp_path / "questions.json").read_text())["questions"]
    told = [(asked["question"], asked["answers"]) for asked in made]
    assert told == [(a["question"], a["answers"]) for a in QUESTIONS if a["page"].startswith("matplotlib_bars_")]
    assert (tmp_path / "matplotlib_bars_2.pdf").read_bytes().startswith(b"%PDF")


def test_layouts_write_the_same_questions_as_lie_beside_the_pages() -> None:
    for layout in LAYOUTS:
        asks = layout.write(Words(f"20 {layout.program} {layout.name} 1")).asks
        name = f"{layout.program}_{layout.name}_1"
        assert [ask.question for ask in asks] == [a["question"] for a in QUESTIONS if a["page"] == name]


def test_pages_are_rendered_as_large_as_tiles_need_them() -> None:
    (sample,) = BENCHMARKS["foreign"].samples(split="test", questions=1)
    assert sample.picture_for(None).size == sample.image.size
    for tiles in (1, "2x2", "3x2", "auto"):
        views = ShirgXConfig(tiles=tiles).views(14)
        width, height = sample.picture_for(views).size
        rows, columns = views.tiling((100 * width, 100 * height))
        assert max(width, height) >= LONG_SIDE
        assert width >= 672 * columns - 1
        assert height >= 672 * rows - 1
        assert views.tiling((width, height)) == (rows, columns)
    assert sample.picture_for(ShirgXConfig().views(14)).size == sample.image.size
