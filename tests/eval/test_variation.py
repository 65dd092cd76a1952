"""Scores by what differs from page to page."""

from dataclasses import replace
from itertools import islice

import pytest

from llava.eval.benchmarks.drawn import place_traits
from llava.eval.benchmarks.registry import find_benchmark
from llava.eval.results import AnswerRecord, ResultSet
from llava.eval.summary import VARIATION_FILE, summarize, variation_table, write_summary
from tests.eval.test_evaluate_results import make_record


def records() -> list[AnswerRecord]:
    """Small print is right in one of four, large print in all three; two pages say nothing of the ground."""
    small = [make_record(number, f"s{number}", float(number == 0)) for number in range(4)]
    large = [make_record(number, f"l{number}", 1.0) for number in range(3)]
    return [
        *(replace(record, traits={"size": "below 11 px", "ground": "dark"}) for record in small),
        *(replace(record, traits={"size": "20 px and more"}) for record in large[:2]),
        replace(large[2], traits={"size": "11 to 13 px", "ground": "light"}),
    ]


def test_every_value_of_every_trait_has_its_own_score():
    told = summarize(records(), ["anls"])["traits"]
    means = {
        (trait, value): (part["num_questions"], part["scores"]["anls"]["mean"])
        for trait, values in told.items()
        for value, part in values.items()
    }
    assert means == {
        ("size", "below 11 px"): (4, 0.25),
        ("size", "11 to 13 px"): (1, 1.0),
        ("size", "20 px and more"): (2, 1.0),
        ("ground", "dark"): (4, 0.25),
        ("ground", "light"): (1, 1.0),
    }
    assert list(told["size"]) == ["below 11 px", "11 to 13 px", "20 px and more"]
    assert told["size"]["below 11 px"]["scores"]["anls"]["low"] is not None


def test_the_report_is_a_table_beside_the_results_and_none_where_nothing_is_known(tmp_path):
    results = ResultSet(tmp_path / "some", {"metrics": ["anls"]}, {"commit": "x"})
    results.append(records())
    table = variation_table(write_summary(results, ()))
    assert (tmp_path / "some" / VARIATION_FILE).read_text() == table
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()]
    assert [row[:3] for row in rows[2:5]] == [["all", "", "7"], ["size", "below 11 px", "4"], ["", "11 to 13 px", "1"]]
    assert rows[3][3].startswith("0.250 [")
    bare = ResultSet(tmp_path / "none", {"metrics": ["anls"]}, {"commit": "x"})
    bare.append([make_record(number, f"p{number}", 1.0) for number in range(3)])
    assert variation_table(write_summary(bare, ())) == ""
    assert not (tmp_path / "none" / VARIATION_FILE).exists()


def test_confidence_is_compared_with_exact_match_where_that_is_judged():
    assert summarize(records(), ["anls"])["calibration_error"] is None
    judged = [replace(record, scores={"exact_match": float(number < 3)}) for number, record in enumerate(records())]
    assert summarize(judged, ["exact_match"])["calibration_error"] == pytest.approx(0.75 - 3 / 7)


@pytest.mark.parametrize(
    ("x", "y", "across", "down"),
    [(0, 14, "below 4 px", "below 4 px"), (17, 9, "below 4 px", "7 to 11 px"), (32, 27, "4 to 7 px", "11 px and more")],
)
def test_places_in_a_patch(x, y, across, down):
    box = (x / 672, y / 672, (x + 30) / 672, (y + 12) / 672)
    assert place_traits([box]) == {"across": f"{across} into a patch", "down": f"{down} into a patch"}
    assert place_traits([box, box]) == {}


def test_drawn_and_foreign_questions_say_what_differs():
    drawn = list(islice(find_benchmark("docpage").open(split="shifted", style="print_small"), 9))
    assert all(sample.traits["type"] == "held-out families" for sample in drawn)
    assert {"across", "down", "damage", "size"} <= {name for sample in drawn for name in sample.traits}
    foreign = list(find_benchmark("foreign").open(split="validation"))
    assert {sample.traits["program"] for sample in foreign} > {"chromium", "latex"}
    assert {name for sample in foreign for name in sample.traits} == {"program", "size", "letters", "answer"}
