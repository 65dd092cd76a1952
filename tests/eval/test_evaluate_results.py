"""Results of an evaluation: lines that survive a kill, what they say together, and how two compare."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llava.eval.results import RECORDS_FILE, SETTINGS_FILE, SUMMARY_FILE, AnswerRecord, ResultSet, read_records
from llava.eval.statistics import bootstrap_difference, bootstrap_mean, sign_flip_test
from llava.eval.summary import compare, judge_together, summarize
from llava.files import write_json
from llava.metrics import cider


def make_record(number: int, page: str, score: float, *, kind: str = "at", encode: float = 1.0) -> AnswerRecord:
    return AnswerRecord(
        id=f"{page}-{number}",
        page=page,
        kind=kind,
        question=f"What is {number}?",
        golds=("a", "b"),
        answer="a",
        scores={"anls": score},
        detail_tokens=number,
        total_tokens=number + 9,
        traits={},
        confidence=0.75,
        answer_tokens=3,
        forwards=2 * number,
        blank_share=number / 10,
        seconds={"encode": encode, "select": 0.5, "denoise": 0.25 * number},
    )


WHERE = {"commit": "0" * 12, "device": "slide rule"}


class TestRecords:
    def test_a_record_survives_its_line_whatever_was_answered(self) -> None:
        record = replace(make_record(3, "p", 0.5), answer="a\nb\u2028\x00\ud7ff \N{SNOWMAN}", detail_tokens=None)
        line = record.to_line()
        assert len(line.splitlines()) == 1
        assert line.isascii()
        assert AnswerRecord.from_line(line) == record

    def test_a_broken_line_in_the_middle_is_named(self, tmp_path: Path) -> None:
        lines = [make_record(number, "p", 0.5).to_line() for number in range(3)]
        path = tmp_path / RECORDS_FILE
        for broken in ("{", "[]", '{"id": 3}', "null"):
            path.write_text("\n".join([lines[0], broken, lines[2]]) + "\n")
            with pytest.raises(ValueError, match="line 2 is no record"):
                read_records(path, mend=True)

    def test_reading_mends_only_when_asked(self, tmp_path: Path) -> None:
        path = tmp_path / RECORDS_FILE
        line = make_record(1, "p", 0.5).to_line()
        path.write_text(f"{line}\n{line[:20]}")
        with pytest.raises(ValueError, match="line 2 is no record"):
            read_records(path)
        assert path.read_text() == f"{line}\n{line[:20]}"
        assert len(read_records(path, mend=True)) == 1
        assert path.read_text() == f"{line}\n"

    def test_two_processes_do_not_write_the_same_answers(self, tmp_path: Path) -> None:
        first, second = ResultSet(tmp_path, {}, WHERE), ResultSet(tmp_path, {}, WHERE)
        first.append([make_record(1, "p", 0.5)])
        with pytest.raises(ValueError, match="another process is adding answers"):
            second.append([make_record(1, "p", 0.5)])
        first.append([make_record(2, "p", 0.5)])
        assert [record.id for record in read_records(tmp_path / RECORDS_FILE)] == [r.id for r in first.records]
        again = ResultSet(tmp_path, {}, WHERE)
        again.append([make_record(3, "p", 0.5)])
        assert len(again.records) == len(read_records(tmp_path / RECORDS_FILE)) == 3

    def test_answers_say_which_code_and_machine_they_are_from(self, tmp_path: Path) -> None:
        later = {**WHERE, "commit": "1" * 12}
        for number, where in enumerate((WHERE, WHERE, later, later)):
            result = ResultSet(tmp_path, {}, where)
            assert not number or result.provenance
            result.append([])
            result.append([make_record(number, "p", 0.5)])
        assert result.provenance == [{"from_question": 1, **WHERE}, {"from_question": 3, **later}]
        assert ResultSet(tmp_path, {}, {}).provenance == result.provenance

    def test_records_without_settings_are_not_gone_on_with(self, tmp_path: Path) -> None:
        (tmp_path / RECORDS_FILE).write_text("")
        with pytest.raises(ValueError, match=r"holds records\.jsonl but no settings\.json"):
            ResultSet(tmp_path, {}, WHERE)

    def test_broken_settings_are_named(self, tmp_path: Path) -> None:
        ResultSet(tmp_path, {}, WHERE).append([make_record(1, "p", 0.5)])
        for content in ("{", "[]"):
            (tmp_path / SETTINGS_FILE).write_text(content)
            with pytest.raises(ValueError, match=r"settings\.json (is not valid JSON|must hold a JSON object)"):
                ResultSet(tmp_path, {}, WHERE)


def write_results(directory: Path, records: list[AnswerRecord], **settings: Any) -> Path:
    """A finished result directory with these records."""
    settings = {"metrics": ["anls"], "method": "shirg_x", "budget": 32, **settings}
    ResultSet(directory, settings, WHERE).append(records)
    write_json({"settings": settings, **summarize(records, list(records[0].scores))}, directory / SUMMARY_FILE)
    return directory


class TestSummary:
    SCORES = (0.0, 1.0, 1.0, 0.5, 0.25, 1.0, 0.0)
    PAGES = ("p", "p", "p", "q", "q", "r", "r")

    def records(self) -> list[AnswerRecord]:
        return [
            make_record(number, page, score, kind="at" if number % 3 else "count", encode=2.0)
            for number, (page, score) in enumerate(zip(self.PAGES, self.SCORES, strict=True))
        ]

    def test_means_and_intervals_are_those_of_the_statistics_by_page(self) -> None:
        summary = summarize(self.records(), ["anls"])
        interval = bootstrap_mean(self.SCORES, self.PAGES, generator=np.random.default_rng(0))
        assert summary["scores"]["anls"] == {
            "mean": interval.estimate,
            "low": interval.low,
            "high": interval.high,
        }
        assert interval.low < interval.estimate < interval.high
        assert (summary["num_questions"], summary["num_pages"]) == (7, 3)
        assert {kind: part["num_questions"] for kind, part in summary["kinds"].items()} == {"at": 4, "count": 3}
        assert summary["kinds"]["count"]["scores"]["anls"]["mean"] == pytest.approx((0.0 + 0.5 + 0.0) / 3)
        assert (summary["detail_tokens"], summary["total_tokens"]) == (3.0, 12.0)
        assert summary["blank_share"] == pytest.approx(0.3)
        assert summary["seconds"] == {"encode": round(3 * 2.0 / 7, 6), "select": 0.5, "denoise": 0.75}

    def test_one_page_has_a_mean_and_no_interval(self) -> None:
        summary = summarize([make_record(1, "p", 0.5), make_record(2, "p", 1.0)], ["anls"])
        assert summary["scores"]["anls"] == {"mean": 0.75, "low": None, "high": None}

    def test_metrics_of_the_corpus_are_told_beside_the_others(self, tmp_path: Path) -> None:
        said = [("star", "star"), ("moon", "ring"), ("red ring", "red ring"), ("red", "red star")]
        records = [
            replace(make_record(number, f"p-{number // 2}", 0.5), answer=answer, golds=(gold,))
            for number, (answer, gold) in enumerate(said)
        ]
        expected = cider([answer for answer, _ in said], [[gold] for _, gold in said])
        assert [record.scores for record in judge_together(records, ["cider"])] == [
            {"anls": 0.5, "cider": score} for score in expected
        ]
        assert len(set(expected)) == 4
        assert judge_together(records[:1], ["cider"]) == records[:1]
        directories = []
        for name in ("a", "b"):
            directory = write_results(tmp_path / name, records)
            judged = judge_together(records, ["cider"])
            settings = json.loads((directory / SETTINGS_FILE).read_text())
            write_json({"settings": settings, **summarize(judged, ["anls", "cider"])}, directory / SUMMARY_FILE)
            directories.append(directory)
        heading, _, first, second = compare(directories).splitlines()
        assert "| cider | difference | p |" in heading
        assert f"| {np.mean(expected):.3f} [" in first
        assert "+0.000 [+0.000, +0.000]" in second

    def test_nothing_cannot_be_summarized(self) -> None:
        with pytest.raises(ValueError, match="no records to summarize"):
            summarize([], ["anls"])

    def test_the_comparison_holds_paired_differences_from_the_first(self, tmp_path: Path) -> None:
        base = [replace(record, scores={"anls": 0.25}) for record in self.records()]
        first = write_results(tmp_path / "first", base)
        second = write_results(tmp_path / "a|b", self.records(), method="tome", budget=None)
        heading, rule, row, other = compare([first, second]).splitlines()
        assert heading == "| results | method | budget | tokens | anls | difference | p |"
        assert rule == "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
        assert row == f"| {first} | shirg_x | 32 | 12 | 0.250 [0.250, 0.250] |  |  |"
        generator = np.random.default_rng
        interval = bootstrap_difference(self.SCORES, [0.25] * 7, self.PAGES, generator=generator(0))
        p = sign_flip_test(self.SCORES, [0.25] * 7, self.PAGES, generator=generator(0))
        assert 0 < p < 1
        assert other.startswith(f"| {tmp_path}/a\\|b | tome |  | 12 | 0.536 [")
        assert other.endswith(f"| +0.286 [{interval.low:+.3f}, {interval.high:+.3f}] | {p:.4f} |")

    def test_one_page_is_compared_without_an_interval(self, tmp_path: Path) -> None:
        first, second = (
            write_results(tmp_path / name, [make_record(1, "p", score)]) for name, score in (("a", 0.5), ("b", 0.25))
        )
        assert compare([first, second]).splitlines()[-1].endswith("| 0.250 | -0.250 |  |")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda records: records[:-1], r"7 and 6, of which 6 are shared|6 and 7, of which 6 are shared"),
            (lambda records: [replace(records[0], golds=("c",)), *records[1:]], "of which 6 are shared"),
            (lambda records: [records[1], records[0], *records[2:]], "of which 7 are shared"),
        ],
    )
    def test_other_questions_are_not_compared(
        self, tmp_path: Path, change: Callable[[list[AnswerRecord]], list[AnswerRecord]], message: str
    ) -> None:
        first = write_results(tmp_path / "first", self.records())
        second = write_results(tmp_path / "second", change(self.records()))
        with pytest.raises(ValueError, match=f"are not about the same questions: .*({message})"):
            compare([first, second])

    def test_other_metrics_are_not_compared(self, tmp_path: Path) -> None:
        first = write_results(tmp_path / "first", self.records())
        others = [replace(record, scores={"token_f1": 0.5}) for record in self.records()]
        second = write_results(tmp_path / "second", others)
        with pytest.raises(ValueError, match="judged by other metrics"):
            compare([first, second])

    def test_what_is_not_finished_is_not_compared(self, tmp_path: Path) -> None:
        first = write_results(tmp_path / "all" / "first", self.records())
        ResultSet(tmp_path / "unfinished", {}, WHERE).append(self.records())
        for wrong, message in (
            (tmp_path / "unfinished", "let lavida eval finish it first"),
            (tmp_path / "nowhere", "there is no directory"),
            (tmp_path / "all", f"it holds several: {first}"),
        ):
            with pytest.raises(FileNotFoundError, match=message):
                compare([first, wrong])
        with pytest.raises(ValueError, match="nothing to compare"):
            compare([first])
