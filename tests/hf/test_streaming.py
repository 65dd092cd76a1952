"""Streamers are told the drafts: transformers' own on the terminal, ours as text."""

import pytest
import torch
from transformers import TextDiffusionStreamer, TextStreamer

from llava.hf import DraftStreamer
from llava.hf.streaming import MASK_SIGN
from tests.hf_helpers import answers, inputs, user
from tests.integration_helpers import IMAGES

SLOW = {"max_new_tokens": 8, "steps": 8, "stop_at_end_of_turn": False}


def text_of(processor, asked, output) -> str:
    return processor.decode(answers(asked, output)[0], skip_special_tokens=True)


def test_drafts_are_texts_that_end_in_the_answer(stock) -> None:
    processor, model = stock
    drafts, told = [], []
    asked = inputs(processor)
    streamer = DraftStreamer(model, processor, drafts.append, told.append, mask="?")
    output = model.generate(**asked, **SLOW, streamer=streamer)
    masks = [draft.count("?") for draft in drafts]
    ended = next((count for count in masks if count == 0), None)
    assert masks == sorted(masks, reverse=True)
    assert ended == 0
    assert masks[0] > 0
    assert told == [drafts[-1]]
    assert told[0] in text_of(processor, asked, output)
    drafts.clear()
    model.generate(**asked, **SLOW, streamer=streamer)
    assert drafts, "a streamer serves one prompt after the other"


def test_a_mask_is_a_sign_and_the_answer_ends_at_its_end(stock) -> None:
    processor, model = stock
    ids = processor.tokenizer("ab", add_special_tokens=False).input_ids
    config = model.config
    told: list[str] = []
    streamer = DraftStreamer(model, processor, told.append)
    streamer.put_draft(torch.tensor([[ids[0], config.mask_token_id, ids[1], config.eot_token_id, ids[0]]]))
    assert told == [f"a{MASK_SIGN}b"]


@pytest.mark.parametrize("kind", [TextDiffusionStreamer, TextStreamer])
def test_transformers_own_streamers_write_to_the_terminal(stock, capsys, kind) -> None:
    processor, model = stock
    asked = inputs(processor)
    streamer = kind(processor.tokenizer, skip_special_tokens=True)
    output = model.generate(**asked, **SLOW, streamer=streamer)
    written = capsys.readouterr().out
    assert "What is the total?" in written
    assert written.rstrip("\n").endswith(text_of(processor, asked, output)[-3:])
    assert (written.count("\033[33m") == 8) == (kind is TextDiffusionStreamer)


def test_one_answer_at_a_time_is_streamed(stock) -> None:
    processor, model = stock
    asked = inputs(processor, [user("a", IMAGES[0])], [user("b", IMAGES[1])])
    with pytest.raises(ValueError, match="2 are denoised together"):
        model.generate(**asked, **SLOW, streamer=DraftStreamer(model, processor, lambda text: None))
