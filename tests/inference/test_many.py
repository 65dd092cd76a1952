"""Many questions and many pages in one call: in order, each answered as it is alone."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from llava.inference import batching
from llava.inference.batching import cut_batches, windows
from llava.inference.session import Session
from llava.serve.cli import main
from tests.cli_helpers import Call, write_page

QUESTIONS = ["why?", "who signed it on the second page?", "how much?", "where?", "what is the total of all?"]


@pytest.fixture
def pages(tmp_path: Path) -> list[Path]:
    return [write_page(tmp_path / f"{width}.png", (width, 131)) for width in (173, 89, 211)]


@given(lengths=st.lists(st.integers(1, 50), max_size=30), answer=st.integers(1, 9), positions=st.integers(0, 300))
def test_batches_take_everyone_once_and_stay_within_their_bound(
    lengths: list[int], answer: int, positions: int
) -> None:
    batches = cut_batches(lengths, answer, positions)
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * (max(lengths[place] for place in batch) + answer)
        assert padded <= positions or len(batch) == 1
    tallest = [max(lengths[place] for place in batch) for batch in batches]
    assert tallest == sorted(tallest)
    for first, second in pairwise(batches):
        shortest = min(lengths[place] for place in second)
        assert (len(first) + 1) * (shortest + answer) > positions, "the next would have fitted"


def same(first: Any, second: Any) -> bool:
    return (first.text, first.tokens, first.question, first.prefix.budget, first.forwards) == (
        second.text,
        second.tokens,
        second.question,
        second.prefix.budget,
        second.forwards,
    ) and first.confidence == pytest.approx(second.confidence, abs=1e-4)


@pytest.mark.parametrize("decoding", ["fast", "exact", "one-per-step"])
def test_questions_of_a_page_are_answered_as_each_is_alone(session: Session, page: Path, decoding: Any) -> None:
    together = session.ask(page, QUESTIONS, decoding=decoding)
    for answer, question in zip(together, QUESTIONS, strict=True):
        assert same(answer, session.ask(page, question, decoding=decoding))


def test_many_pages_are_answered_in_order_and_encoded_once(
    session: Session, pages: list[Path], tower_calls: list[str]
) -> None:
    pairs = [(pages[(7 * n) % 3], QUESTIONS[n % 5]) for n in range(11)]
    counts: list[int] = []
    together = session.ask_many(pairs, on_answer=counts.append)
    assert tower_calls.count("extract_shirg_x_tokens") == 3
    assert counts == list(range(1, 12))
    for answer, (image, question) in zip(together, pairs, strict=True):
        assert same(answer, session.ask(image, question))
        assert answer.image.width == int(image.stem)


def test_what_is_held_at_a_time_is_bounded(
    session: Session, pages: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A window of a few short batches; questions are taken as they are needed, and none is lost between windows."""
    expected = session.ask_many([(path, question) for path in pages for question in QUESTIONS])
    monkeypatch.setattr("llava.inference.session.BATCH_POSITIONS", 300)
    sizes: list[int] = []
    denoise = Session.denoise

    def counted(self: Session, asked: Any, *rest: Any) -> Any:
        sizes.append(len(asked))
        return denoise(self, asked, *rest)

    monkeypatch.setattr(Session, "denoise", counted)
    taken: list[str] = []

    def pairs() -> Any:
        for path in pages:
            for question in QUESTIONS:
                taken.append(question)
                yield path, question

    answers = session.answers(pairs())
    first = next(answers)
    assert len(taken) < 15
    for answer, wanted in zip([first, *answers], expected, strict=True):
        assert same(answer, wanted)
    assert 1 < len(sizes) <= 15
    assert max(sizes) * 100 < 300 * 2


def test_a_new_picture_at_an_old_ones_address_is_another_page(session: Session) -> None:
    def pairs() -> Any:
        for level in range(8):
            yield Image.new("RGB", (90 + level, 90), (level * 30, 0, 0)), "why?"

    assert [answer.image.width for answer in session.answers(pairs())] == list(range(90, 98))


def test_what_is_drawn_at_random_does_not_depend_on_who_else_is_asked(session: Session, page: Path) -> None:
    from llava.inference.decoding import find_decoding

    drawn = find_decoding("one-per-step", temperature=1.5)
    together = session.ask(page, QUESTIONS, decoding=drawn, seed=5)
    for answer, question in zip(together, QUESTIONS, strict=True):
        assert answer.tokens == session.ask(page, question, decoding=drawn, seed=5).tokens


def test_windows_are_consecutive(session: Session, page: Path) -> None:
    asked = [session._prepare(session.encode(page), question) for question in QUESTIONS]
    cut = list(windows(asked, 32, 60))
    assert [one for window in cut for one in window] == asked
    assert len(cut) > 1
    assert batching.WINDOW_BATCHES > 1


class TestCommand:
    def test_every_question_about_every_page(self, call: Call, pages: list[Path], tmp_path: Path) -> None:
        file = tmp_path / "questions.txt"
        file.write_text("why?\n\n  who signed it?  \n")
        out, err = call("ask", *pages, "--questions", file)
        rows = [line.split("\t") for line in out.splitlines()]
        assert [row[:2] for row in rows] == [[str(path), q] for path in pages for q in ("why?", "who signed it?")]
        assert err == ""
        for path in pages:
            alone, _ = call("ask", path, "why?", "who signed it?")
            assert [row[2] for row in rows if row[0] == str(path)] == alone.splitlines()
        out, _ = call("ask", *pages, "--questions", file, "--json")
        told = [json.loads(line) for line in out.splitlines()]
        assert [[one["image"], one["question"], one["answer"]] for one in told] == rows

    def test_a_page_that_cannot_be_read_loses_nothing(
        self, quick: Path, pages: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file, broken = tmp_path / "questions.txt", tmp_path / "broken.png"
        file.write_text("why?")
        broken.write_bytes(b"no picture")
        words = ["ask", str(pages[0]), str(broken), str(tmp_path / "none.png"), str(pages[1])]
        assert main([*words, "--questions", str(file), "--model", str(quick)]) == 2
        out, err = capsys.readouterr()
        assert [line.split("\t")[0] for line in out.splitlines()] == [str(pages[0]), str(pages[1])]
        assert "broken.png" in err
        assert "none.png" in err
        assert "2 of 4 pages could not be read" in err

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "holds no question"),
            (b"why?\n<image>\n", "line 2: the question holds <image>"),
            (b"\xff\xfe\x00w", "UTF-8"),
        ],
    )
    def test_a_file_without_questions_is_refused(
        self, page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str
    ) -> None:
        file = tmp_path / "questions.txt"
        file.write_bytes(content)
        assert main(["ask", str(page), "--questions", str(file)]) == 2
        assert message in capsys.readouterr().err
        assert main(["ask", str(page)]) == 2
        assert "required: QUESTION" in capsys.readouterr().err
        assert main(["ask", str(page), "--questions", str(file), "--heatmap", "a.png"]) == 2
        assert "--heatmap" in capsys.readouterr().err
