"""The bundled pages are what the script draws, and every answer stands where ``pages.json`` says."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from llava.image_io import load_pages
from scripts.assets.canvas import Canvas, money
from scripts.assets.documents import draw_invoice, draw_receipt, draw_table
from scripts.assets.draw_pages import draw_all

PAGES = Path(__file__).parent.parent.parent / "llava" / "assets" / "pages"
ENTRIES = json.loads((PAGES / "pages.json").read_text(encoding="utf-8"))
PICTURES = ("bar_chart", "entity_grid", "invoice", "photo", "table", "tall", "wide")
FILES = [*(f"{name}.png" for name in PICTURES), "invoice.pdf"]


@pytest.fixture(scope="module")
def redrawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    draw_all(folder)
    return folder


def test_redrawing_gives_the_bundled_questions(redrawn: Path) -> None:
    assert json.loads((redrawn / "pages.json").read_text(encoding="utf-8")) == ENTRIES


@pytest.mark.parametrize("name", FILES)
def test_redrawing_gives_the_bundled_pixels(redrawn: Path, name: str) -> None:
    for new, bundled in zip(load_pages(redrawn / name), load_pages(PAGES / name), strict=True):
        np.testing.assert_array_equal(np.asarray(new), np.asarray(bundled))


def test_a_second_drawing_gives_the_same_bytes(redrawn: Path, tmp_path: Path) -> None:
    draw_all(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*FILES, "pages.json"])
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (redrawn / path.name).read_bytes()


@pytest.mark.parametrize("name", FILES)
def test_files_are_small_and_asked_about(name: str) -> None:
    assert (PAGES / name).stat().st_size < 150_000
    assert 2 <= sum(entry["image"] == name for entry in ENTRIES) <= 6


def test_the_pdf_has_two_pages_that_are_both_asked_about() -> None:
    assert len(load_pages(PAGES / "invoice.pdf")) == 2
    counts = Counter(entry.get("page") for entry in ENTRIES if entry["image"] == "invoice.pdf")
    assert set(counts) == {1, 2}
    assert all(2 <= count <= 4 for count in counts.values())


def test_entries_have_their_keys_and_questions_are_told_apart() -> None:
    for entry in ENTRIES:
        assert set(entry) - {"page"} == {"image", "question", "answer", "box"}
        assert entry["answer"]
        assert entry["question"].endswith("?")
    counts = Counter((entry["image"], entry.get("page"), entry["question"]) for entry in ENTRIES)
    assert set(counts.values()) == {1}


def strongest_contrast(pixels: np.ndarray) -> int:
    """The widest spread of one color channel."""
    return int((pixels.max(axis=(0, 1)) - pixels.min(axis=(0, 1))).max())


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry['image']}-{entry['question']}")
def test_the_box_of_an_answer_holds_ink_that_ends_inside(entry: dict) -> None:
    (page,) = load_pages(PAGES / entry["image"], page=entry.get("page"))
    pixels = np.asarray(page).astype(int)
    x0, y0, x1, y1 = entry["box"]
    assert 0 <= x0 < x1 <= page.width
    assert 0 <= y0 < y1 <= page.height
    assert strongest_contrast(pixels[y0:y1, x0:x1]) > 90
    if entry["image"] != "photo.png" and "shape" not in entry["question"]:
        ends = pixels[y0:y1, [x0 - 3, x1 + 2]]
        paper = np.median(pixels[y0:y1, x0 - 3 : x1 + 3].reshape(-1, 3), axis=0)
        assert abs(ends - paper).max() < 60  # ink beyond either end would mean that the box cuts the answer


def answer_to(name: str, words: str) -> str:
    (answer,) = {entry["answer"] for entry in ENTRIES if entry["image"] == name and words in entry["question"]}
    return answer


def test_sums_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written on the invoice, the receipt and the table is added up again from the written words."""
    written: list[str] = []
    plain_text = Canvas.text

    def listen(page: Canvas, x: float, y: float, words: str, size: float, **options: str) -> object:
        written.append(words)
        return plain_text(page, x, y, words, size, **options)

    monkeypatch.setattr(Canvas, "text", listen)

    draw_invoice("invoice.png")
    first = written.index("Amount") + 1
    rows = [written[at : at + 6] for at in range(first, written.index("Subtotal"), 6)]
    subtotal = 0
    for _, _, count, _, price, amount in rows:
        cents = int(count) * round(100 * float(price.replace(",", "")))
        assert money(cents) == amount
        subtotal += cents
    assert money(subtotal) == written[written.index("Subtotal") + 1]
    assert answer_to("invoice.png", "total due") == "$" + money(subtotal + 18_450 + round(subtotal * 0.055))

    written.clear()
    draw_receipt()
    goods = written[written.index("whole milk 1 L") : written.index("TOTAL")]
    prices = [round(100 * float(price)) for price in goods[1::2]]
    assert answer_to("tall.png", "total") == "$" + money(sum(prices))
    paid = round(100 * float(written[written.index("Cash") + 1]))
    assert answer_to("tall.png", "change") == money(paid - sum(prices))

    written.clear()
    draw_table()
    cells = written[written.index("Alderhaven") :]
    totals = []
    for at in range(0, 24 * 14, 14):
        counts = [int(word.replace(",", "")) for word in cells[at + 1 : at + 14]]
        assert sum(counts[:12]) == counts[12]
        totals.append(counts[12])
        if cells[at] == "Kestrel":
            assert answer_to("table.png", "Kestrel") == cells[at + 9]
    assert answer_to("table.png", "busiest") == f"{max(totals):,}"


def test_small_print_is_too_small_for_the_thumbnail() -> None:
    """Answers on the dense pages are at most 6 pixels high at 384, where letters stop being told apart."""
    for name in ("invoice.png", "table.png"):
        (page,) = load_pages(PAGES / name)
        answers = [entry for entry in ENTRIES if entry["image"] == name and "total due" not in entry["question"]]
        assert len(answers) == 3
        for entry in answers:
            assert (entry["box"][3] - entry["box"][1]) * 384 / page.height <= 6
