"""Public sets as benchmarks, read from small local copies in their schema; nothing is fetched."""

import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import pytest
from PIL import Image

from llava.data.records import SHORT_ANSWER
from llava.eval.asked import Asked
from llava.eval.benchmarks.registry import BENCHMARKS
from llava.serve.cli import main
from tests.tables_helpers import DOCVQA_CARD, FORMULA, chart_rows, picture, samples_of, write_split


@pytest.fixture(autouse=True)
def _own_cache_and_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


# What is asked


def test_chartqa_is_asked_for_short_answers_about_its_charts(tmp_path: Path) -> None:
    samples = samples_of("chartqa", write_split(tmp_path / "charts" / "data", "chartqa", chart_rows()).parent)
    assert [sample.id for sample in samples] == [f"chartqa/test/{number}" for number in range(5)]
    assert [sample.kind for sample in samples] == ["human_test"] * 3 + ["augmented_test"] * 2
    assert samples[1].question == f"How many bars of 1?{SHORT_ANSWER}"
    assert samples[3].golds == ("3",)
    assert [sample.image.size for sample in samples] == [(23, 19), (23, 19), (24, 19), (24, 19), (23, 19)]
    pages = [sample.page for sample in samples]
    assert pages[0] == pages[1] == pages[4]
    assert pages[2] == pages[3] != pages[0]
    assert BENCHMARKS["chartqa"].score("3.1", samples[3].golds) == {"relaxed_accuracy": 1.0, "exact_match": 0.0}


def test_docvqa_accepts_each_of_its_answers_and_sorts_its_kinds(tmp_path: Path) -> None:
    rows = [
        {"questionId": "337", "question": "When?", "answers": ["1/8/93", "1/8/1993"], "question_types": ["form", "a"]},
        {"questionId": "338", "question": "Who?", "answers": ["Bo"], "question_types": ["a", "form"]},
    ]
    samples = samples_of(
        "docvqa", write_split(tmp_path / "d", "docvqa", [{**row, "image": picture(23)} for row in rows])
    )
    assert [sample.id for sample in samples] == ["docvqa/validation/337", "docvqa/validation/338"]
    assert {sample.kind for sample in samples} == {"a, form"}
    assert samples[0].golds == ("1/8/93", "1/8/1993")
    assert BENCHMARKS["docvqa"].score("1/8/1994", samples[0].golds) == {"anls": 0.875, "exact_match": 0.0}


def test_textvqa_keeps_the_answers_of_all_ten_people(tmp_path: Path) -> None:
    answers = ["nokia"] * 3 + ["Nokia phone"] * 7
    row = {"question_id": 34602, "question": "what brand?", "answers": answers, "image": picture(23)}
    (sample,) = samples_of("textvqa", write_split(tmp_path / "t", "textvqa", [row]))
    assert (sample.id, sample.kind, sample.golds) == ("textvqa/validation/34602", "", tuple(answers))
    assert sample.question == f"what brand?{SHORT_ANSWER}"
    assert BENCHMARKS["textvqa"].score("Nokia", sample.golds) == {"vqa_accuracy": pytest.approx(0.9), "exact_match": 1}


def test_infovqa_is_kept_apart_by_kind_of_answer(tmp_path: Path) -> None:
    row = {"questionId": "1", "question": "How much?", "answers": ["4%"], "answer_type": ["single span"]}
    (sample,) = samples_of("infovqa", write_split(tmp_path / "i", "infovqa", [{**row, "image": picture(23)}]))
    assert (sample.id, sample.kind) == ("infovqa/validation/1", "single span")
    assert sample.question.endswith(SHORT_ANSWER)


def test_ocrbench_asks_plain_and_compares_formulas_in_their_own_way(tmp_path: Path) -> None:
    rows = [
        {"question": "What is written?", "question_type": "Regular Text Recognition", "answer": ["CENTRE"]},
        {"question": "Write LaTeX.", "question_type": FORMULA, "answer": [r"\frac { A } { 2 }"]},
    ]
    write_split(tmp_path / "o", "ocrbench", [{**row, "image": picture(23)} for row in rows])
    word, formula = samples_of("ocrbench", tmp_path / "o")
    assert (word.question, word.kind) == ("What is written?", "Regular Text Recognition")
    score = BENCHMARKS["ocrbench"].score
    assert score("the centre", word.golds, word.kind) == {"contains": 1.0, "exact_match": 0.0}
    assert score(r"= \frac{A}{2}", formula.golds, formula.kind)["contains"] == 1.0
    assert score(r"\frac{a}{2}", formula.golds, formula.kind)["contains"] == 0.0
    assert score(r"\frac{A}{2}", formula.golds, word.kind)["contains"] == 0.0


def test_a_copy_of_a_whole_repository_keeps_its_configurations_apart(tmp_path: Path) -> None:
    by_card, by_name = tmp_path / "with a card", tmp_path / "without"
    for name, folder, config in (("docvqa", "pages", "DocVQA"), ("infovqa", "infographics", "InfographicVQA")):
        row = {"questionId": "1", "question": f"{name}?", "answers": ["A"], "image": picture(23)}
        write_split(by_card / folder, name, [row])
        write_split(by_name / config, name, [row])
    (by_card / "README.md").write_text(DOCVQA_CARD)
    for name in ("docvqa", "infovqa"):
        for place in (by_card, by_name):
            (sample,) = samples_of(name, place)
            assert sample.question == f"{name}?{SHORT_ANSWER}"


def test_images_are_decoded_one_by_one_and_only_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = chart_rows()
    rows[1]["image"] = {"bytes": b"no image", "path": None}
    decoded: list[str] = []

    def counted(file: BytesIO, name: str) -> Image.Image:
        decoded.append(name)
        return Image.open(file)

    monkeypatch.setattr("llava.data.tables.decode_image", counted)
    samples = samples_of("chartqa", write_split(tmp_path / "c", "chartqa", rows))
    assert decoded == []
    assert samples[2].image.width == samples[3].image.width == 24
    assert decoded == ["the image of row 2 of chartqa, split test", "the image of row 3 of chartqa, split test"]


def test_all_questions_or_the_first_are_counted(tmp_path: Path) -> None:
    data = str(write_split(tmp_path / "c", "chartqa", chart_rows()))
    for questions, count in ((None, 5), (3, 3), (99, 5)):
        asked = Asked(benchmark=BENCHMARKS["chartqa"], split="test", data=data, questions=questions)
        assert asked.count == len(list(asked.samples())) == len(list(asked.samples())) == count


# What is refused


def one_row(name: str, **changes: Any) -> dict[str, Any]:
    answer = {"chartqa": "A", "ocrbench": ["A"]}.get(name, ["A"] * 10)
    return {"question": "What?", "answer": answer, "answers": answer, "image": picture(23), **changes}


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("docvqa", [], "cannot be opened as docvqa, split validation: .*no data!; name a directory with"),
        ("docvqa", [one_row("docvqa", answers=None)], "docvqa, split validation, has no answers, so nothing"),
        ("textvqa", [one_row("textvqa", answers=[""] * 10)], "textvqa, split validation, has no answers"),
        ("textvqa", [one_row("textvqa", answers=["A"] * 3)], "row 0 has 3 of the 4 answers that its metrics need"),
        (
            "chartqa",
            [one_row("chartqa", image=None)] * 2,
            "split test, cannot be asked about: row 0 has no image; give",
        ),
        ("chartqa", [one_row("chartqa", question=" "), one_row("chartqa", image=None)], "row 0 has no question"),
        ("ocrbench", [one_row("ocrbench", question=None)], "ocrbench, split test, .*: row 0 has no question"),
    ],
)
def test_data_that_cannot_be_asked_about_is_refused_when_it_is_opened(
    tmp_path: Path, name: str, rows: list[dict[str, Any]], message: str
) -> None:
    data = write_split(tmp_path / "data", name, rows)
    with pytest.raises(ValueError, match=message):
        BENCHMARKS[name].open(split=BENCHMARKS[name].splits[0], data=str(data))


@pytest.mark.parametrize(
    ("name", "changes", "fault"),
    [
        ("docvqa", {"answers": []}, "row 1 has 0 of the 1 answers that its metrics need"),
        ("textvqa", {"answers": ["A"] * 3}, "row 1 has 3 of the 4 answers that its metrics need"),
        ("chartqa", {"image": None}, "row 1 has no image"),
        ("ocrbench", {"question": " "}, "row 1 has no question"),
    ],
)
def test_a_row_that_cannot_be_asked_about_says_so(
    tmp_path: Path, name: str, changes: dict[str, Any], fault: str
) -> None:
    data = write_split(tmp_path / "data", name, [one_row(name), one_row(name, **changes), one_row(name)])
    assert [sample.fault for sample in samples_of(name, data)] == [None, fault, None]


@pytest.mark.parametrize(
    ("column", "value", "type_", "message"),
    [
        ("answer", 5, datasets.Value("int64"), "has no answers, .* or texts in the column answer"),
        ("answer", [5, 7], datasets.List(datasets.Value("int64")), "has no answers, .* or texts in the column answer"),
        ("answer", {"a": "x"}, {"a": datasets.Value("string")}, "has no answers, .* or texts in the column answer"),
        ("question", 5, datasets.Value("int64"), "row 0 has the question 5, which is no text"),
    ],
)
def test_columns_of_another_type_are_named(tmp_path: Path, column: str, value: Any, type_: Any, message: str) -> None:
    data = write_split(tmp_path / "data", "chartqa", [one_row("chartqa", **{column: value})], **{column: type_})
    with pytest.raises(ValueError, match=message):
        BENCHMARKS["chartqa"].open(split="test", data=str(data))


def test_a_split_whose_answers_are_kept_is_refused(tmp_path: Path) -> None:
    data = write_split(tmp_path / "d", "docvqa", [one_row("docvqa")])
    write_split(data, "docvqa", [one_row("docvqa", answers=None)], split="test")
    assert len(samples_of("docvqa", data)) == 1
    with pytest.raises(ValueError, match="docvqa, split test, has no answers, so nothing can be scored; choose"):
        samples_of("docvqa", data, "test")


def test_a_damaged_image_is_named_when_it_is_asked_for(tmp_path: Path) -> None:
    rows = [one_row("chartqa", image={"bytes": b"no image", "path": None}), one_row("chartqa")]
    damaged, sound = samples_of("chartqa", write_split(tmp_path / "c", "chartqa", rows))
    assert sound.image.size == (23, 19)
    with pytest.raises(ValueError, match="Cannot read the image of row 0 of chartqa, split test: it holds text"):
        _ = damaged.image


# The command line

Refuse = Callable[..., str]


@pytest.fixture
def refuse(capsys: pytest.CaptureFixture[str], quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """Run an evaluation that must be refused before the model is loaded; returns the one line it is refused with."""
    monkeypatch.setattr("llava.model.builder.load_pretrained_model", None)

    def run(*words: str | Path) -> str:
        out = tmp_path / "out"
        capsys.readouterr()
        code = main(["eval", "--model", str(quick), "--out", str(out), *map(str, words)])
        shown, err = capsys.readouterr()
        assert (code, shown, out.exists()) == (2, "", False)
        (line,) = err.splitlines()
        return line.removeprefix("lavida: error: ")

    return run


def test_places_without_the_data_are_refused(refuse: Refuse, tmp_path: Path) -> None:
    assert refuse("--benchmark", "chartqa", "--data", tmp_path / "gone") == (
        f"there is no directory {tmp_path / 'gone'} with chartqa; check --data"
    )
    (tmp_path / "empty").mkdir()
    line = refuse("--benchmark", "chartqa", "--data", tmp_path / "empty")
    assert line.startswith(f"{tmp_path / 'empty'} cannot be opened as chartqa, split test: ")
    assert line.endswith("; name a directory with the tables of lmms-lab/ChartQA with --data")
    data = write_split(tmp_path / "charts", "chartqa", chart_rows())
    assert refuse("--benchmark", "docvqa", "--split", "test", "--data", data).startswith(
        "docvqa, split test, has no column answers, questionId, question_types; it has type, question"
    )
    assert "cannot be opened as textvqa, split validation: Unknown split" in refuse(
        "--benchmark", "textvqa", "--data", data
    )
    assert "chartqa has no split 'val'; use one of test" in refuse("--benchmark", "chartqa", "--split", "val")


def test_a_hub_that_cannot_be_reached_is_named_with_the_way_around_it(refuse: Refuse) -> None:
    for words, hub in (([], "lmms-lab/ChartQA"), (["--data", "someone/charts"], "someone/charts")):
        line = refuse("--benchmark", "chartqa", *words)
        assert line.startswith(f"{hub} cannot be opened as chartqa, split test: ")
        assert line.endswith("name a directory with the tables of lmms-lab/ChartQA with --data")


def test_the_package_that_is_missing_is_named(refuse: Refuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_split(tmp_path / "charts", "chartqa", chart_rows())
    monkeypatch.setitem(sys.modules, "datasets", None)
    line = refuse("--benchmark", "chartqa", "--data", data)
    assert line == "chartqa is read with the package datasets; pip install 'lavida-shirg[eval]' brings it"
