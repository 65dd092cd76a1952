"""A session does what people guess, and says what to do where they guess wrong."""

import re
from base64 import b64decode
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import llava
from llava.image_io import load_image
from llava.inference.session import Session
from llava.inference.words import Template
from llava.model.language_model.diffusion.progress import DenoisingStep
from shirg.config import ShirgXConfig

QUESTION = "What is red?"


@pytest.fixture(scope="module")
def stock(quick: Path) -> Session:
    return Session.load(quick, shirg=ShirgXConfig(mode="stock"), device="cpu")


def test_it_is_what_the_package_gives() -> None:
    assert llava.Session is Session


class TestAsk:
    def test_one_question_gives_one_answer_and_several_a_list(self, session: Session, page: Path) -> None:
        alone = session.ask(page, QUESTION)
        several = session.ask(page.read_bytes(), [QUESTION, "Why?"])
        assert isinstance(alone, llava.Answer)
        assert [answer.question for answer in several] == [QUESTION, "Why?"]
        assert alone.tokens == several[0].tokens
        assert session.ask(load_image(page), (QUESTION,))[0].tokens == alone.tokens
        assert session.ask(page, []) == []

    def test_a_page_is_encoded_once_for_several_questions(
        self, session: Session, stock: Session, page: Path, tower_calls: list[str]
    ) -> None:
        for each in (session, stock):
            tower_calls.clear()
            each.ask(page, QUESTION)
            alone = list(tower_calls)
            tower_calls.clear()
            each.ask(page, [QUESTION, "Why?", "How many?"])
            assert tower_calls == alone != []

    def test_a_page_may_be_encoded_before(self, session: Session, page: Path, tower_calls: list[str]) -> None:
        encoded = session.encode(page)
        assert session.ask(encoded, QUESTION).text == session.ask(encoded, [QUESTION])[0].text
        assert len(tower_calls) == len(set(tower_calls))

    @pytest.mark.parametrize(
        ("ask", "error", "words"),
        [
            (
                lambda session, page: session.ask(page, 7),
                TypeError,
                "a question is a text, or a list of several, but this is int",
            ),
            (
                lambda session, page: session.ask(page, ["why?", 7]),
                TypeError,
                "text, but this is int: 7",
            ),
            (lambda session, page: session.ask(page, b"why?"), TypeError, "a question is a text"),
            (
                lambda session, page: session.ask(7, "why?"),
                TypeError,
                "a page is a path, bytes, a PIL image or an array",
            ),
            (lambda session, page: session.ask(page, ""), ValueError, "is empty; ask something"),
            (lambda session, page: session.answer(page, "why?"), TypeError, r"a page from encode\(\), not PosixPath"),
            (lambda session, page: session.select(page, "why?"), TypeError, r"ask\(\) takes pictures"),
            (lambda session, page: session.nothing, AttributeError, "a Session has no attribute 'nothing'"),
        ],
    )
    def test_what_cannot_be_asked_is_named(
        self, session: Session, page: Path, ask: Callable[..., Any], error: type[Exception], words: str
    ) -> None:
        with pytest.raises(error, match=words):
            ask(session, page)


class TestAnswer:
    def test_print_shows_the_text_and_repr_is_one_short_line(
        self, session: Session, stock: Session, page: Path
    ) -> None:
        template = Template.parse("It is [2].")
        encoded = session.encode(page)
        answer, filled = session.ask(encoded, QUESTION), session.fill(encoded, template)
        assert str(answer) == answer.text
        assert str(filled) == filled.text
        for shown in (answer, filled, encoded, session, answer.prefix, stock, stock.ask(page, QUESTION)):
            kinds = "Answer|Filled|EncodedImage|Session|VisualPrefix"
            assert re.fullmatch(rf"({kinds})\(.{{3,200}}\)", repr(shown)), repr(shown)
        assert repr(answer).startswith(f"Answer({answer.text[:5]!r}"[:-1])
        assert f"confidence={answer.confidence:.2f}" in repr(answer)
        assert "budget=64" in repr(answer)

    def test_confidence_is_the_least_sure_token_s_up_to_the_end_of_turn(self, session: Session, page: Path) -> None:
        encoded, last = session.encode(page), []

        def watch(step: DenoisingStep) -> None:
            last[:] = step.progress.probabilities[0].tolist()

        end = session.model.config.eot_token_id
        answer = session.answer(encoded, QUESTION, on_step=watch)
        told = answer.tokens.index(end) + 1 if end in answer.tokens else len(answer.tokens)
        assert answer.confidence == min(last[:told])
        assert 0 < answer.confidence < 1
        filled = session.fill(encoded, Template.parse("red [3] red"), on_step=watch)
        assert filled.confidence == min(last)
        # Whatever stands in the template is certain, so that only what was filled counts.
        assert sorted(last)[3:] == [1.0] * (len(last) - 3)

    def test_the_heat_map_is_a_picture_of_what_was_kept(self, session: Session, page: Path) -> None:
        answer = session.ask(page, QUESTION)
        picture = answer.heatmap()
        assert picture.mode == "RGB"
        assert picture.width > 500
        framed = answer.heatmap(answer_box=(0.5, 0.5, 0.1, 0.1))
        assert framed.tobytes() != picture.tobytes()

    def test_a_notebook_shows_text_confidence_and_heat_map(self, session: Session, stock: Session, page: Path) -> None:
        answer = session.ask(page, "Is 1 < 2?")
        html = answer._repr_html_()
        assert "Is 1 &lt; 2?" in html
        assert f"(confidence {answer.confidence:.0%})" in html
        (source,) = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
        with Image.open(BytesIO(b64decode(source))) as image:
            assert image.tobytes() == answer.heatmap().tobytes()
        assert "<img" not in stock.ask(page, QUESTION)._repr_html_()

    def test_without_selection_there_is_nothing_to_draw(self, stock: Session, page: Path) -> None:
        with pytest.raises(ValueError, match="there is no choice to draw; load the session with SHIRG-X"):
            stock.ask(page, QUESTION).heatmap()


class TestClose:
    def test_a_closed_session_says_so(self, quick: Path, page: Path) -> None:
        with Session.load(quick, device="cpu") as session:
            encoded = session.encode(page)
            answer = session.answer(encoded, QUESTION)
        for use in (
            lambda: session.ask(page, QUESTION),
            lambda: session.encode(page),
            lambda: session.answer(encoded, QUESTION),
            lambda: session.select(encoded, QUESTION),
            lambda: session.untrained,
        ):
            with pytest.raises(RuntimeError, match=r"this session is closed; Session.load\(\) opens another"):
                use()
        assert repr(session) == "Session(closed)"
        session.close()
        assert answer.heatmap().width > 500

    def test_a_removed_patch_says_so(self, quick: Path, page: Path) -> None:
        session = Session.load(quick, device="cpu")
        encoded = session.encode(page)
        assert session.handle is not None
        session.handle.remove()
        for use in (lambda: session.ask(page, QUESTION), lambda: session.answer(encoded, QUESTION)):
            with pytest.raises(RuntimeError, match=r"was removed from this session's model; Session.load\(\) opens"):
                use()
        handle = session.handle
        for use in (
            handle.remove,
            lambda: handle.encode_pages([], []),
            lambda: handle.select_tokens(encoded.encoded, [None]),
            lambda: handle.save("nowhere"),
        ):
            with pytest.raises(RuntimeError, match=r"removed already; apply_shirg_x\(model\) makes another"):
                use()
