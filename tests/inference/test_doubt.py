"""What a session refuses before it looks at a page, and what it says of an answer that nobody should rely on."""

import json
from pathlib import Path

import pytest
import torch

from llava.inference.session import Session
from llava.inference.words import Template
from llava.serve.cli import main
from scripts import fit_confidence
from tests.cli_helpers import Call, edit_config, edit_tensors, quick_checkpoint


@pytest.fixture
def copied(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return quick_checkpoint(tiny_checkpoint, tmp_path / "copy")


def test_an_answer_says_why_nobody_should_rely_on_it(
    session: Session, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = session.encode(page)
    monkeypatch.setattr(session.model.config, "unsure_below", 0.0)
    sure = session.answer(encoded, "why?", decoding="one-per-step")
    assert sure.text
    assert sure.doubt is None
    for limit, is_unsure in ((sure.confidence, False), (sure.confidence + 1e-6, True), (1.0, True)):
        monkeypatch.setattr(session.model.config, "unsure_below", limit)
        doubt = session.answer(encoded, "why?", decoding="one-per-step").doubt
        assert (doubt is not None and f"confidence {sure.confidence:.2f}" in doubt) == is_unsure
        filled = session.fill(encoded, Template.parse("a [2] b"), decoding="one-per-step")
        assert (filled.doubt is None) == (filled.confidence >= limit and bool("".join(filled.gaps).strip()))


def test_an_empty_answer_is_said_to_be_one_however_sure_it_is(
    session: Session, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = session.encode(page)
    first = session.answer(encoded, "why?", decoding="one-per-step").tokens[0]
    monkeypatch.setattr(session.model.config, "unsure_below", 0.0)
    # What the model says first ends the turn now.
    monkeypatch.setattr(session.model.config, "eot_token_id", first)
    answer = session.answer(encoded, "why?", decoding="one-per-step")
    assert answer.text == ""
    assert answer.doubt is not None
    assert "empty" in answer.doubt
    assert "empty" in answer._repr_html_()


def test_doubt_is_a_field_and_a_line_on_stderr(page: Path, copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for limit, count in ((0.0, 0), (1.0, 2)):
        edit_config(copied, unsure_below=limit)
        words = ["--no-stop", "--json", "--decoding", "one-per-step", "--device", "cpu", "--model", str(copied)]
        assert main(["ask", str(page), "why?", "who?", *words]) == 0
        out, err = capsys.readouterr()
        doubts = [json.loads(line)["doubt"] for line in out.splitlines()]
        assert len([doubt for doubt in doubts if doubt]) == count
        for question, doubt in zip(("why?", "who?"), doubts, strict=True):
            assert doubt is None or f"lavida: {question}: {doubt}" in err.splitlines()
        words.remove("--no-stop")
        assert main(["fill", str(page), "a [2] b", *words]) == 0
        out, err = capsys.readouterr()
        doubt = json.loads(out)["doubt"]
        assert (doubt is not None) == bool(count)
        assert doubt is None or f"lavida: {doubt}" in err.splitlines()


@pytest.mark.parametrize("value", [-0.1, 1.5, True, "much"])
def test_a_limit_that_is_no_confidence_is_refused(copied: Path, value: object) -> None:
    edit_config(copied, unsure_below=value)
    with pytest.raises(ValueError, match="unsure_below"):
        Session.load(copied, device="cpu")


@pytest.mark.parametrize("question", ["x" * 30_000, "why " * 5000], ids=["one word", "many words"])
def test_a_question_that_leaves_no_room_is_refused_before_a_page_is_read(
    session: Session, page: Path, question: str, tower_calls: list[str], call: Call
) -> None:
    for decoding in ("fast", "exact"):
        with pytest.raises(ValueError, match="more than the 4096 of this model"):
            session.ask(page, ["why?", question], decoding=decoding)
    assert tower_calls == []
    encoded = session.encode(page)
    tower_calls.clear()
    with pytest.raises(ValueError, match="more than the 4096"):
        session.select(encoded, question)
    for command in ("ask", "select"):
        with pytest.raises(AssertionError, match="more than the 4096"):
            call(command, page, question)
    assert tower_calls == []


def test_a_book_is_refused_before_it_is_cut_into_tokens(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    longest = max(map(len, session.tokenizer.get_vocab()))
    cut: list[str] = []
    monkeypatch.setattr(Session, "check_words", lambda _, text: cut.append(text))
    with pytest.raises(ValueError, match="characters, which take more than the 4096 positions of this model"):
        session.check_question("x" * (4096 * longest + 1), 32)
    assert cut == []
    with pytest.raises(ValueError, match="positions and the answer 32"):
        session.check_question("x " * (2048 * longest), 32)
    assert len(cut) == 1


def test_the_longest_question_that_fits_is_asked(session: Session, page: Path) -> None:
    """Neither too strict, nor anything left for denoising to refuse."""
    encoded = session.encode(page)
    used = len(session.prompt("why")[0]) - 1 + len(session.select(encoded, "why").tokens)
    room = 4096 - used - 32
    unit = len(session.prompt("why why why")[0]) - len(session.prompt("why why")[0])
    fits = "why" + " why" * (room // unit)
    session.check_question(fits, 32)
    with pytest.raises(ValueError, match="more than the 4096"):
        session.check_question(fits + " why" * 20, 32)


def test_weights_that_overflow_while_answering_are_told(copied: Path, page: Path) -> None:
    """Finite numbers whose products are not."""

    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.transformer.blocks.1.ff_out.weight"].fill_(3e38)

    edit_tensors(copied, spoil)
    session = Session.load(copied, device="cpu")
    with pytest.raises(ValueError, match="probabilities are no numbers"):
        session.ask(page, "why?")


def test_the_limit_is_found_from_stored_answers_and_written(
    call: Call, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--benchmark", "entitygrid", "--style", "shapes", "--questions", "6", "--tokens", "4", "--device", "cpu")
    call("eval", *words, "--budget", "32", "--out", tmp_path / "out")
    assert fit_confidence.main([str(tmp_path / "out"), "--write", str(copied)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["questions"] == 6
    assert told["below"] == 6, "an untrained model is always wrong"
    assert json.loads((copied / "config.json").read_text())["unsure_below"] == told["unsure_below"] > 0
    assert Session.load(copied, device="cpu").model.config.unsure_below == told["unsure_below"]
    assert fit_confidence.main([str(tmp_path)]) == 2
    assert "no summary.json" in capsys.readouterr().err
