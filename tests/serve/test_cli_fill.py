"""``lavida fill``: templates, their drafts, and what stands in their gaps."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llava.image_io import load_image
from llava.inference.session import Session
from llava.inference.words import Blank, Template
from tests.cli_helpers import Call

QUESTIONS = ["What is the total?", "Who signed?", "When was that?"]


def written(pieces: Sequence[Blank | str]) -> str:
    return "".join(f"[{'~' * piece.is_open}{piece.tokens}]" if isinstance(piece, Blank) else piece for piece in pieces)


class TestFill:
    def test_words_stay_and_gaps_are_filled(self, call: Call, page: Path) -> None:
        out, _ = call("fill", page, "Total: [4] EUR, date: [mask]!", "--json")
        record = json.loads(out)
        first, second = record["gaps"]
        assert record["text"] == f"Total: {first} EUR, date: {second}!"
        assert record["template"] == "Total: [4] EUR, date: [mask]!"
        assert record["steps"] == 8
        assert first

    def test_in_a_pipe_it_is_one_line(self, call: Call, page: Path) -> None:
        out, err = call("fill", page, "[2] of [3]")
        assert " of " in out
        assert (out.count("\n"), err) == (1, "")

    def test_the_draft_ends_like_an_answer(self, session: Session) -> None:
        config = session.model.config
        draft, spans = session.draft(Template.parse("a[3]b"), 8)
        (a,), (b,) = session.tokenizer("a").input_ids, session.tokenizer("b").input_ids
        mask, end = config.mask_token_id, [config.eot_token_id, config.eos_token_id, config.eos_token_id]
        assert draft.tolist() == [[a, mask, mask, mask, b, *end]]
        assert spans == [range(1), range(1, 4), range(4, 5)]

    def test_a_template_may_take_the_whole_answer(self, session: Session) -> None:
        draft, _ = session.draft(Template.parse("a[3]b"), 5)
        assert draft.shape == (1, 5)
        with pytest.raises(ValueError, match="takes 5 tokens, more than the 4"):
            session.draft(Template.parse("a[3]b"), 4)

    def test_an_end_of_turn_in_a_gap_does_not_end_the_template(
        self, session: Session, page: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        end = session.model.config.eot_token_id

        def logits(hidden: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.one_hot(torch.full(hidden.shape[:-1], end), 512).float()

        monkeypatch.setattr(session.model.model, "compute_logits", logits)
        filled = session.fill(session.encode(load_image(page)), Template.parse("from [2] to [3] in all"))
        assert filled.text == "from  to  in all"
        assert filled.gaps == ("", "")

    def test_an_open_gap_is_closed_by_the_infilling_token(
        self, session: Session, page: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = session.model.config
        (a,), (b,) = session.tokenizer("a").input_ids, session.tokenizer("b").input_ids
        monkeypatch.setattr(config, "infill_token_id", 7)
        draft, spans = session.draft(Template.parse("a[~3]b"), 8)
        mask, end = config.mask_token_id, [config.eot_token_id, config.eos_token_id]
        assert draft.tolist() == [[a, mask, mask, mask, 7, b, *end]]
        assert spans == [range(1), range(1, 5), range(5, 6)]
        filled = session.fill(session.encode(load_image(page)), Template.parse("from [~2] to"))
        assert filled.text.startswith("from ")
        assert filled.text.endswith(" to")
        monkeypatch.setattr(config, "infill_token_id", None)
        with pytest.raises(ValueError, match=r"no infilling token to close the gap \[~3\] with; write \[3\]"):
            session.draft(Template.parse("a[~3]b"), 8)

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.builds(Blank, tokens=st.integers(1, 99), is_open=st.booleans()),
                st.text("ab :]~", min_size=1, max_size=5),
            ),
            min_size=1,
        )
    )
    def test_templates_are_read_as_they_were_written(self, pieces: list[Blank | str]) -> None:
        text = written(pieces)
        blanks = [piece for piece in pieces if isinstance(piece, Blank)]
        if not blanks:
            with pytest.raises(ValueError, match="no gap"):
                Template.parse(text)
            return
        template = Template.parse(text)
        assert [piece for piece in template.pieces if isinstance(piece, Blank)] == blanks
        assert template.num_masked == sum(blank.tokens for blank in blanks)
        assert written(template.pieces) == text
