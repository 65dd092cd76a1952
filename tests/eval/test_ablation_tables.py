"""What a comparison tells of planted answers: means over seeds, differences, evidence, pace, and compact tables."""

from dataclasses import replace
from typing import Any

import pytest

from llava.eval import ablation
from llava.eval.ablation_config import BenchmarkChoice, RowConfig
from llava.eval.comparison import compact_tables, foretelling, pace_tables, summarize_cells
from llava.eval.evidence import EvidenceRecord
from llava.eval.methods import Budget
from llava.eval.results import AnswerRecord


def planted(row: str, budget: Budget, *scores: list[float]) -> ablation.Cell:
    """A cell whose seeds scored each question like this, two questions to a page."""
    records = [
        [
            AnswerRecord(
                id=f"p-{number}",
                page=f"page-{number // 2}",
                kind="at",
                question="What?",
                golds=("star",),
                answer="",
                scores={"exact_match": score},
                detail_tokens=32,
                total_tokens=70,
                traits={},
                confidence=0.75,
                answer_tokens=3,
                forwards=2,
                blank_share=0.25,
                seconds={"encode": 9.0, "select": 0.001, "denoise": 0.002},
            )
            for number, score in enumerate(each)
        ]
        for each in scores
    ]
    benchmark = BenchmarkChoice(name="entitygrid", questions=4)
    return ablation.Cell(row=RowConfig(name=row), benchmark=benchmark, budget=budget, records=records, evidence=())


def test_planted_scores_are_averaged_over_seeds_and_compared_at_their_budget() -> None:
    first = [planted("ours", 32, [1, 0, 0, 0]), planted("ours", 48, [1, 1, 1, 0])]
    first[1] = replace(first[1], row=first[0].row)
    other = [planted("peer", 48, [0, 1, 0, 0], [1, 1, 0, 0]), planted("everything", None, [1, 1, 0, 0])]
    assert other[0].scores("exact_match").tolist() == [0.5, 1, 0, 0]
    assert other[0].milliseconds == pytest.approx(3)
    found = [each["metrics"]["exact_match"] for each in summarize_cells([*first, *other])]
    assert [each["mean"] for each in found] == [0.25, 0.75, 0.375, 0.5]
    assert found[2]["difference"]["mean"] == pytest.approx(0.375 - 0.75)  # the first row's at 48
    assert found[3]["difference"]["mean"] == pytest.approx(0.5 - 0.25)  # no budget: the first row's first


def test_what_the_first_row_has_no_cell_for_is_not_compared() -> None:
    first = planted("ours", 32, [1, 0, 0, 0])
    others = [planted("peer", 64, [1, 1, 1, 1]), planted("head", "auto", [1, 1, 1, 1])]
    found = summarize_cells([first, *others])
    assert not any("difference" in each["metrics"]["exact_match"] for each in found)
    own_number = planted("everything", None, [1, 0, 0, 0])
    (_, peer) = summarize_cells([own_number, others[0]])
    assert peer["metrics"]["exact_match"]["difference"]["mean"] == pytest.approx(0.75)


def surviving(*fates: tuple[str, bool, float]) -> list[EvidenceRecord]:
    return [
        EvidenceRecord(id=name, page="p", kind="at", survives=whole, share=share, blank_share=0.5)
        for name, whole, share in fates
    ]


def test_evidence_is_told_beside_what_was_answered_with_and_without_it() -> None:
    """Two seeds; the last question's evidence has no ink and counts nowhere."""
    cell = replace(
        planted("ours", 32, [1, 0, 1, 0], [1, 1, 0, 0]),
        evidence=[
            surviving(("p-0", True, 1.0), ("p-1", False, 0.5), ("p-2", False, 0.0)),
            surviving(("p-0", True, 1.0), ("p-1", True, 1.0), ("p-2", False, 0.5)),
        ],
    )
    (found,) = summarize_cells([cell])
    assert found["blank_share"] == 0.25
    assert found["evidence_recall"] == pytest.approx(3 / 6)
    assert found["evidence_share"] == pytest.approx(4 / 6)
    assert found["with_evidence"] == pytest.approx(1)
    assert found["without_evidence"] == pytest.approx(1 / 3)


def test_how_well_evidence_foretells_accuracy_is_told() -> None:
    cells = [
        {"evidence_recall": recall, "evidence_share": 0.5, "metrics": {"exact_match": {"mean": mean}}}
        for recall, mean in ((0.1, 0.2), (0.5, 0.3), (None, 0.9), (0.3, 0.4))
    ]
    assert foretelling(cells) == {"evidence_recall": pytest.approx(0.5)}
    assert foretelling(cells[:3]) == {}


def summary(
    row: str, budget: Any, mean: float, gap: tuple[float, float] | None = None, **changes: Any
) -> dict[str, Any]:
    score: dict[str, Any] = {"mean": mean, "low": mean - 0.125, "high": mean + 0.125}
    if gap is not None:
        score["difference"] = {"mean": sum(gap) / 2, "low": gap[0], "high": gap[1], "p": 0.5}
    return {
        "row": row,
        "budget": budget,
        "benchmark": "docs",
        "tokens": 144.0,
        "evidence_recall": 0.0,
        "metrics": {"anls": {}, "exact_match": score},
        **changes,
    }


def test_compact_tables_mark_what_is_worse_and_better_than_the_first_row() -> None:
    rows = [
        summary("ours", 16, 0.5),
        summary("ours", 32, 0.625),
        summary("worse", 16, 0.25, (-0.4, -0.1)),
        summary("better", 16, 0.75, (0.1, 0.4)),
        summary("better", 32, 0.75, (0.0, 0.4)),
        summary("scaffold only", None, 0.125, (-0.5, 0.1)),
        summary("both", 32, 0.125, (-0.5, 0.1)),
        summary("both", "auto", 0.875, (0.1, 0.2)),
    ]
    table = compact_tables(rows).splitlines()
    assert table == [
        "| exact match, docs, K = | 16 | 32 |",
        "| --- | ---: | ---: |",
        "| ours | 0.500 [0.375, 0.625] | 0.625 [0.500, 0.750] |",
        "| worse | 0.250 [0.125, 0.375] ▼ |  |",
        "| better | **0.750 [0.625, 0.875]** | 0.750 [0.625, 0.875] |",
        "| scaffold only (144 tokens) | 0.125 [0.000, 0.250] |  |",
        "| both |  | 0.125 [0.000, 0.250] |",
    ]


def test_compact_tables_put_benchmarks_side_by_side_at_the_first_budget() -> None:
    rows = [
        summary("ours", 16, 0.5),
        summary("ours", 16, 0.25, benchmark="charts", evidence_recall=0.75),
        summary("stock", None, 0.125, (-0.5, -0.1), evidence_recall=None),
        summary("stock", None, 0.125, (-0.5, 0.1), benchmark="charts", evidence_recall=None),
    ]
    assert compact_tables(rows).splitlines() == [
        "| exact match at K = 16 | docs | charts | evidence recall |",
        "| --- | ---: | ---: | ---: |",
        "| ours | 0.500 [0.375, 0.625] | 0.250 [0.125, 0.375] | 0.00 / 0.75 |",
        "| stock (144 tokens) | 0.125 [0.000, 0.250] ▼ | 0.125 [0.000, 0.250] |  |",
    ]


def test_texts_and_times_are_compared_question_by_question() -> None:
    first, other = planted("ours", 32, [1, 1, 1, 1]), planted("peer", 32, [1, 1, 1, 1])
    times, words = (1.0, 3.0, 0.5, 0.7), ("", "", "else", "")
    changed = [
        replace(record, answer=answer, seconds={**record.seconds, "denoise": 0.002 * time}, forwards=6)
        for record, answer, time in zip(other.records[0], words, times, strict=True)
    ]
    found = summarize_cells([first, replace(other, records=[changed])])[1]
    assert found["same_text"] == 0.75
    assert found["time_ratio"] == pytest.approx(0.85)
    assert (found["forwards"], found["tokens_per_forward"]) == (6, 0.5)
    seeds = planted("peer", 32, [1, 1, 1, 1], [1, 1, 1, 1])
    assert summarize_cells([first, seeds])[1]["same_text"] is None
    assert "| peer | 2.00 | 1.50 |  |  | 1.000 |" in pace_tables(summarize_cells([first, seeds]))


def test_a_compact_table_of_a_metric_that_is_not_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="docs has no cider; it has anls, exact_match"):
        compact_tables([summary("ours", 16, 0.5)], "cider")
