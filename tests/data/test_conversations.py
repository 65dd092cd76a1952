"""Samples from records: what is learned of each turn, what is skipped, and what is refused before the first step."""

import json
import logging
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from lavida_shirg_integration import apply_shirg_x
from llava.constants import IGNORE_INDEX
from llava.conversation import conv_templates
from llava.data.conversations import ConversationConfig, ConversationDataset, count_text, image_token_counter
from llava.data.infill import InfillConfig
from llava.data.mixture import read_mixture
from llava.data.sample import encode_conversation
from llava.image_processor import SigLipImageProcessor
from llava.mm_utils import process_images, tokenizer_image_token
from llava.model.builder import load_tokenizer
from shirg.config import ShirgXConfig
from tests.cli_helpers import QUICK_SHIRG_X, write_page
from tests.data.test_mixture import record, talk, write_json

TOKENIZER = load_tokenizer(Path(__file__).parent.parent.parent / "llava" / "assets" / "lavida-small")
PROCESSOR = SigLipImageProcessor(size=(14, 14))
VIEWS = SimpleNamespace(image_aspect_ratio="anyres", image_grid_pinpoints=[(14, 28), (28, 14)])
LIMIT = 400


def width_in_tokens(size: tuple[int, int]) -> int:
    return size[0]


def no_tokens(size: tuple[int, int]) -> int:
    return 0


def dataset(folder: Path, *raws: Any, image_tokens: Any = no_tokens, **config: Any) -> ConversationDataset:
    mixture = read_mixture(write_json(folder / "set.json", list(raws)))
    settings = ConversationConfig(**{"max_sequence_length": LIMIT, "answer_block": 8} | config)
    return ConversationDataset(mixture, TOKENIZER, PROCESSOR, VIEWS, image_tokens=image_tokens, config=settings)


def decode(ids: torch.Tensor) -> str:
    """The text of ids; an image is a vertical bar."""
    return TOKENIZER.decode([TOKENIZER.encode("|")[0] if token < 0 else token for token in ids.tolist()])


def learned(labels: torch.Tensor) -> str:
    return decode(labels[labels != IGNORE_INDEX])


# What a sample is


def test_each_answer_is_a_sample_with_its_history_in_the_prompt(folder):
    texts = ["<image>\nWho?", "Ann.", "And why?", "Rent.", "When?", "May."]
    data = dataset(folder, record(conversations=talk(*texts)), record(id="q", conversations=talk("<image>?", "Last.")))
    samples = list(data)
    assert [sample.id for sample in samples] == ["set/r#0", "set/r#1", "set/r#2", "set/q#0"]
    for sample, answer in zip(samples, ["Ann.", "Rent.", "May.", "Last."], strict=True):
        assert learned(sample.labels).replace("<|endoftext|>", "") == f"{answer}<|eot_id|>"
        assert (sample.labels != IGNORE_INDEX).sum() == 8
    prompt = decode(samples[2].input_ids[samples[2].labels == IGNORE_INDEX])
    places = [prompt.index(word) for word in ("Who?", "Ann.", "And why?", "Rent.", "When?")]
    assert places == sorted(places)
    assert "Ann." not in decode(samples[0].input_ids[samples[0].labels == IGNORE_INDEX])
    assert "When?" not in decode(samples[1].input_ids)
    assert [sample.question.text for sample in samples[:3]] == ["Who?", "And why?", "When?"]
    assert all(sample.skipped == () for sample in samples)


def test_a_sample_is_the_encoding_of_its_turns(folder):
    texts = ["<image>\nWho?", "Ann.", "And why?", "Rent."]
    sample = dataset(folder, record(conversations=talk(*texts)))[1]
    turns = [(("user", "assistant")[number % 2], text) for number, text in enumerate(texts)]
    expected = encode_conversation(turns, TOKENIZER, answer_block=8)
    torch.testing.assert_close(sample.input_ids, expected.input_ids)
    torch.testing.assert_close(sample.labels, expected.labels)


def test_a_sample_has_the_images_of_its_turns_and_no_later_ones(folder):
    turns = talk("<image>\nOne?", "A.", "None?", "B.", "Two: <image>?", "C.")
    data = dataset(folder, record(image=["a.png", "b.png"], conversations=turns))
    sizes = [sample.image_sizes for sample in data]
    assert sizes == [((29, 23),), ((29, 23),), ((29, 23), (23, 31))]
    sample = data[2]
    images = data.records.load_images(data.records[0], 2)
    for view, expected in zip(sample.views, process_images(images, PROCESSOR, VIEWS), strict=True):
        torch.testing.assert_close(view, expected)
    assert (sample.input_ids == -200).sum() == 2


def test_text_only_records_are_samples_too(folder):
    sample = dataset(folder, record(image=None, conversations=talk("Who?", "Ann.")))[0]
    assert sample.views == ()
    assert sample.image_sizes == ()
    assert sample.question.text == "Who?"


def test_indices_are_those_of_a_sequence(folder):
    data = dataset(folder, *(record(id=number) for number in range(3)))
    assert data[-1].id == data[2].id == "set/2#0"
    with pytest.raises(IndexError):
        data[3]


# The random extra


def test_extra_blocks_are_drawn_for_each_sample_from_the_seed_and_its_id(folder):
    raws = [record(id=number) for number in range(23)]

    def blocks(*chosen: Any, **config: Any) -> dict[str, int]:
        data = dataset(folder, *chosen, max_extra_blocks=2, **config)
        return {sample.id: int((sample.labels != IGNORE_INDEX).sum()) // 8 for sample in data}

    drawn = blocks(*raws)
    assert set(drawn.values()) == {1, 2, 3}
    assert blocks(*raws) == drawn
    assert blocks(*raws, seed=1) != drawn
    assert blocks(*raws[5:]).items() <= drawn.items()


def test_extra_blocks_never_exceed_the_context(folder):
    raws = [record(id=number) for number in range(13)]
    length = len(dataset(folder, raws[0])[0].labels) + 29  # the image is 29 pixels wide
    data = dataset(folder, *raws, max_extra_blocks=50, max_sequence_length=length + 17, image_tokens=width_in_tokens)
    lengths = {len(sample.labels) + 29 - length for sample in data}
    assert lengths <= {0, 8, 16}
    assert 16 in lengths


def test_gaps_are_opened_in_the_answers_that_their_ids_say(folder):
    raws = [record(id=number) for number in range(23)]

    def opened(*chosen: Any, share: float = 0.5, **config: Any) -> set[str]:
        data = dataset(folder, *chosen, infill=InfillConfig(share=share), infill_id=9, **config)
        return {sample.id for sample in data if 9 in sample.labels}

    drawn = opened(*raws)
    assert 4 < len(drawn) < 19
    assert opened(*raws, seed=1) != drawn
    assert opened(*raws[5:]) <= drawn
    assert len(opened(*raws, share=1.0)) == 23
    assert not opened(*raws, share=0.0)


# Samples that cannot be used


def test_the_next_good_sample_takes_the_place_of_a_bad_one(folder, caplog):
    raws = [
        record(id="good"),
        record(id="torn", image="torn.png"),
        record(id="gone", image="gone.png"),
        record(id="odd", conversations=[]),
        record(id="next"),
        record(id="last", image="torn.png", conversations=talk("?", "A.", "?", "B.")),
    ]
    data = dataset(folder, *raws)
    assert len(data) == 7
    with caplog.at_level(logging.WARNING, logger="llava.data.conversations"):
        samples = list(data)
        list(data)
    names = ["good", "next", "next", "next", "next", "good", "good"]
    assert [sample.id for sample in samples] == [f"set/{name}#0" for name in names]
    assert [len(sample.skipped) for sample in samples] == [0, 3, 2, 1, 0, 2, 1]
    torn, gone, odd = samples[1].skipped
    assert torn.startswith("set/torn#0: Cannot read")
    assert "torn.png" in torn
    assert gone.startswith("set/gone#0: ")
    assert "no such file" in gone
    assert odd == "set/odd#0: conversations must be a list of turns"
    reported = [entry.getMessage().split("#")[0] for entry in caplog.records]
    assert reported == ["skipped set/torn", "skipped set/gone", "skipped set/odd", "skipped set/last"]


def test_a_sample_too_long_with_its_images_is_skipped_with_the_three_lengths(folder):
    raws = [record(id="wide"), record(id="narrow", image="b.png")]
    prompt, answer = count_text(
        encode_conversation([("user", "<image>\nWhat?"), ("assistant", "That.")], TOKENIZER, answer_block=8)
    )
    limit = prompt + answer + 23
    data = dataset(folder, *raws, image_tokens=width_in_tokens, max_sequence_length=limit)
    sample = data[0]
    assert sample.id == "set/narrow#0"
    assert sample.skipped == (
        f"set/wide#0: prompt {prompt} + images 29 + answer {answer} tokens exceed max_sequence_length={limit}",
    )
    assert len(sample.labels) - 1 + 23 == limit
    assert data.check().num_bad == 0


def test_nothing_but_bad_samples_is_an_error(folder):
    data = dataset(folder, record(id="a", image="gone.png"), record(id="b", image="torn.png"))
    with pytest.raises(ValueError, match=r"none of the 2 samples can be used; the first one: set/b#0"):
        data[1]


def test_a_question_that_is_an_image_alone_is_skipped_only_on_request(folder):
    raws = [record(id="alone", conversations=talk("<image>\n", "A.")), record(id="asked")]
    sample = dataset(folder, *raws)[0]
    assert sample.id == "set/alone#0"
    assert sample.question is None
    strict = dataset(folder, *raws, require_question=True)
    assert strict[0].id == "set/asked#0"
    assert strict.check().faults == {"no question": 1}


def test_workers_give_the_same_samples(folder):
    raws = [record(id="a"), record(id="b", image="torn.png"), record(id="c", image="b.png")]
    data = dataset(folder, *raws, max_extra_blocks=3)
    loaded = list(DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context="fork"))
    assert [sample.id for sample in loaded] == ["set/a#0", "set/c#0", "set/c#0"]
    for sample, expected in zip(loaded, data, strict=True):
        torch.testing.assert_close(sample.input_ids, expected.input_ids)
        torch.testing.assert_close(sample.views, expected.views)
        assert sample.skipped == expected.skipped
    assert pickle.loads(pickle.dumps(data))[1].skipped == data[1].skipped


# Before the first step


def test_check_counts_faults_without_opening_images(folder):
    raws = [
        record(id="good"),
        record(id="torn", image="torn.png"),
        record(id="gone", image="gone.png"),
        record(id="odd", image=[]),
        record(id="long", conversations=talk("<image>" + "long " * 500, "A.")),
        record(id="later", conversations=talk("<image>?", "A.", "long " * 500, "B.")),
        record(id="half", image=["a.png", "gone.png"], conversations=talk("<image>?", "A.", "<image>?", "B.")),
    ]
    report = dataset(folder, *raws).check(num_examples=2)
    assert report.num_samples == 9
    assert report.num_bad == 5
    assert report.faults == {"missing image": 2, "bad record": 1, "too long": 2}
    assert report.examples == (
        f"set/gone#0: there is no image {folder / 'gone.png'}",
        "set/odd#0: it has 0 images but 1 <image> placeholders",
    )
    assert str(report) == "5 of 9 samples cannot be used (missing image: 2, bad record: 1, too long: 2)"


@pytest.mark.parametrize("answer", ["That.", "ǂ" * 50])  # many letters to a token, and one byte to a token
def test_check_judges_lengths_exactly(folder, answer):
    turns = [("user", "<image>\nWhat?"), ("assistant", answer)]
    prompt, padded = count_text(encode_conversation(turns, TOKENIZER, answer_block=8))
    assert prompt == len(tokenizer_image_token(prompt_of(turns), TOKENIZER)) - 1
    assert padded % 8 == 0
    raw, limit = record(conversations=talk(*(text for _, text in turns))), prompt + padded
    assert dataset(folder, raw, max_sequence_length=limit).check().num_bad == 0
    with pytest.raises(ValueError, match=rf"prompt {prompt} .* answer {padded} tokens exceed .*={limit - 1}"):
        dataset(folder, raw, max_sequence_length=limit - 1).check()


def prompt_of(turns: list[tuple[str, str]]) -> str:
    conversation = conv_templates["llada"].copy()
    conversation.append_message(*turns[0])
    conversation.append_message("assistant", None)
    return conversation.get_prompt()


def test_short_texts_are_not_tokenized(folder, monkeypatch):
    data = dataset(folder, record(), max_sequence_length=600)
    monkeypatch.setattr("llava.data.conversations.encode_conversation", None)
    assert data.check().num_bad == 0


def test_a_gap_counts_towards_the_length(folder):
    """The text alone fits, and its gap does not: the shortcut for short texts must not hide it."""
    raw = record()
    text = len(prompt_of([("user", raw["conversations"][0]["value"])]).encode())
    answer = len(raw["conversations"][1]["value"].encode())
    infill = InfillConfig(share=1.0, longest_padding=4000)
    with pytest.raises(ValueError, match=r"exceed max_sequence_length|more than max_sequence_length"):
        dataset(folder, raw, max_sequence_length=text + answer + 80, infill=infill, infill_id=9).check()


def test_check_refuses_what_leaves_nothing(folder):
    with pytest.raises(ValueError, match=r"2 of 2 samples cannot be used .*set/a#0: there is no image"):
        dataset(folder, record(id="a", image="gone.png"), record(id="b", image="gone.png")).check()


def test_strict_refuses_any_fault(folder):
    data = dataset(folder, record(), record(id="odd", conversations=[]))
    with pytest.raises(ValueError, match=r"1 of 2 samples .*set/odd#0: conversations must be"):
        data.check(strict=True)
    assert dataset(folder, record()).check(strict=True).num_bad == 0


def test_an_answer_longer_than_the_context_is_always_an_error(folder):
    raws = [record(), record(id="long", conversations=talk("?", "A.", "?", "long " * 500))]
    with pytest.raises(ValueError, match=rf"set/long#1: the answer alone has \d+ tokens .*max_sequence_length={LIMIT}"):
        dataset(folder, *raws).check()


@pytest.mark.parametrize(
    "setting", [{"answer_block": 0}, {"max_extra_blocks": -1}, {"max_sequence_length": 0}, {"template": "plain"}]
)
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        ConversationConfig(**setting)


# Lengths


def test_lengths_rank_samples_and_count_images(folder):
    raws = [
        record(id="a", image=None, conversations=talk("one two three four", "5.", "six", "7.")),
        record(id="b", conversations=[]),
        record(id="c", image=["a.png", "b.png"], conversations=talk("<image><image>?", "A.")),
    ]
    lengths = dataset(folder, *raws, image_tokens=lambda size: 100 * size[0]).lengths
    assert len(lengths) == 4
    assert lengths[0] < lengths[1]
    assert lengths[2] == 0
    assert 200 < lengths[3] < 210


@pytest.mark.parametrize("size", [(173, 131), (131, 131), (61, 211), (13, 300)])
@pytest.mark.parametrize("budget", [None, "auto", 48])
def test_counted_image_tokens_are_those_the_model_makes(loaded, size, budget, tmp_path):
    tokenizer, model, processor, _ = loaded
    records = read_mixture(write_json(tmp_path / "set.json", [record()]))
    write_page(tmp_path / "a.png", size)

    def made() -> tuple[int, int]:
        counter = pickle.loads(pickle.dumps(image_token_counter(model)))
        sample = ConversationDataset(records, tokenizer, processor, model.config, image_tokens=counter)[0]
        sequences = model.encode_images(sample.views, sample.image_sizes, [sample.question])
        return len(sequences[0]), counter(sample.image_sizes[0])

    with torch.no_grad():
        if budget is None:
            tokens, counted = made()
        else:
            settings = ShirgXConfig.from_dict(QUICK_SHIRG_X | {"budget": budget, "similarity": "projected"})
            with apply_shirg_x(model, settings, weights=False):
                tokens, counted = made()
    assert tokens == counted


def test_mixtures_of_several_files_are_one_dataset(folder):
    write_json(folder / "one.json", [record(id="x"), record(id="y")])
    (folder / "two.jsonl").write_text(json.dumps(record(id="x", image="b.png")) + "\n")
    (folder / "mix.yaml").write_text(
        "datasets: [{json_path: one.json, sampling_strategy: 'end:1'}, {json_path: two.jsonl}]"
    )
    data = ConversationDataset(read_mixture(folder / "mix.yaml"), TOKENIZER, PROCESSOR, VIEWS, image_tokens=no_tokens)
    assert [(sample.id, sample.image_sizes) for sample in data] == [
        ("one/y#0", ((29, 23),)),
        ("two/x#0", ((23, 31),)),
    ]
