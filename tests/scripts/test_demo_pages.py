"""The demonstration's pages are the test split's, as the script draws them."""

import json
from dataclasses import replace
from pathlib import Path

from llava.pages import DETAILS, STYLES, draw_page
from llava.serve.demo import GALLERIES
from scripts.assets.draw_demo_pages import entries


def place_of(file: str) -> tuple[str, str, int, int]:
    family, _, index = file.removesuffix(".png").rpartition("_")
    return family, "test", 0, int(index)


def test_the_bundled_pages_are_the_first_test_pages_and_all_their_questions():
    stored = json.loads((GALLERIES["typed"] / "pages.json").read_text())
    files = list(dict.fromkeys(entry["image"] for entry in stored))
    style = replace(STYLES["typed_full"], kinds=DETAILS)
    drawn = [entry for file in files for entry in entries(draw_page(*place_of(file), style), file)]
    assert stored == drawn
    assert sorted(path.name for path in GALLERIES["typed"].iterdir()) == sorted([*files, "pages.json"])


def test_boxes_hold_the_answer_and_lie_on_the_page(tmp_path: Path):
    page = draw_page("entity_grid", "test", 0, 3, STYLES["shapes"])
    for entry, question in zip(entries(page, "x.png"), page.questions, strict=True):
        left, top, right, bottom = entry["box"]
        assert 0 <= left < right <= page.image.width
        assert 0 <= top < bottom <= page.image.height
        x0, _, x1, _ = question.answer_box
        assert left <= x0 * page.image.width < left + 1
        assert right - 1 < x1 * page.image.width <= right
