"""Which questions a benchmark asks, and how answers are scored."""

from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

from llava.eval.asked import Asked
from llava.eval.benchmarks.benchmark import BenchmarkSample
from llava.eval.benchmarks.registry import BENCHMARKS
from llava.pages import DETAILS, STYLES, draw_page

SHAPES = replace(STYLES["shapes"], kinds=DETAILS)


def samples_of(name: str, questions: int, split: str = "test", style: str = "shapes") -> list[BenchmarkSample]:
    return list(BENCHMARKS[name].samples(split=split, style=style, questions=questions))


class TestBenchmarks:
    @pytest.mark.parametrize(
        ("name", "family"), [("entitygrid", "entity_grid"), ("chartpage", "chart_page"), ("docpage", "doc_page")]
    )
    @pytest.mark.parametrize("split", ["test", "shifted", "validation"])
    def test_the_samples_are_all_questions_of_page_after_page(self, name: str, family: str, split: str) -> None:
        samples = samples_of(name, 9, split)
        expected = [
            (f"{family}-shapes-{split}-0-{number}", asked.kind, asked.question, (asked.answer,))
            for number in range(9)
            for asked in draw_page(family, split, 0, number, SHAPES).questions
        ]
        assert [(each.page, each.kind, each.question, each.golds) for each in samples] == expected[:9]
        assert len({sample.id for sample in samples}) == 9
        assert len({id(sample.image) for sample in samples}) == len({sample.page for sample in samples}) > 1

    def test_captions_are_asked_of_the_families_in_turn_and_of_no_page_twice(self) -> None:
        samples = samples_of("captionpage", 7)
        families = ("entity_grid", "chart_page", "doc_page")
        assert [sample.page for sample in samples] == [
            f"{families[turn % 3]}-shapes-test-0-{turn // 3}" for turn in range(7)
        ]
        assert {sample.kind for sample in samples} == {"describe"}
        assert len({sample.golds for sample in samples}) > 3

    def test_fewer_questions_are_a_beginning_of_more(self) -> None:
        assert [s.id for s in samples_of("docpage", 7)] == [s.id for s in samples_of("docpage", 11)][:7]

    def test_names_of_splits_and_styles_never_give_one_id_two_pages(self) -> None:
        ids = [
            s.id for split in ("test", "shifted") for style in STYLES for s in samples_of("chartpage", 1, split, style)
        ]
        assert len(set(ids)) == 2 * len(STYLES)

    def test_the_right_answer_scores_full_and_a_wrong_one_nothing(self) -> None:
        for benchmark in (each for each in BENCHMARKS.values() if each.styles):
            (sample,) = islice(benchmark.samples(split="test", style="shapes", questions=1), 1)
            right = benchmark.score(sample.golds[0], sample.golds)
            assert right == dict.fromkeys(benchmark.metrics, 1.0)
            assert benchmark.score("@@@@", sample.golds) == dict.fromkeys(benchmark.metrics, 0.0)

    def test_each_benchmark_has_its_main_metric_first(self) -> None:
        assert {name: benchmark.metrics for name, benchmark in BENCHMARKS.items()} == {
            "entitygrid": ("token_f1", "exact_match"),
            "chartpage": ("relaxed_accuracy", "exact_match"),
            "docpage": ("anls", "exact_match"),
            "captionpage": ("token_f1", "exact_match"),
            "foreign": ("anls", "exact_match"),
            "chartqa": ("relaxed_accuracy", "exact_match"),
            "docvqa": ("anls", "exact_match"),
            "textvqa": ("vqa_accuracy", "exact_match"),
            "infovqa": ("anls", "exact_match"),
            "ocrbench": ("contains", "exact_match"),
        }

    def test_data_sets_are_asked_whole_and_drawn_pages_500_questions(self) -> None:
        for benchmark in BENCHMARKS.values():
            assert (benchmark.questions, benchmark.style) == ((500, "full") if benchmark.styles else (None, None))

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"split": "train"}, "no split 'train'; use one of test, shifted, validation"),
            ({"style": "tiny"}, "no style 'tiny'; use one of shapes, large_print, typed, typed_full, full"),
            ({"questions": 0}, "must be at least 1, got 0"),
            ({"questions": None}, "entitygrid has questions without end; say how many"),
            ({"style": None}, "no style None; use one of shapes"),
            ({"data": "data"}, "entitygrid is drawn and reads no data; leave 'data' out"),
        ],
    )
    def test_what_does_not_exist_is_refused_before_anything_is_drawn(self, wrong: dict[str, Any], message: str) -> None:
        asked = Asked(benchmark=BENCHMARKS["entitygrid"], split="test", style="shapes", questions=11)
        with pytest.raises(ValueError, match=message):
            replace(asked, **wrong)
