"""Records whose images are missing or that are too long: counted at once, and never looked for twice."""

import logging
from typing import Any

import pytest

from llava.data.conversations import ConversationConfig, ConversationDataset, count_text
from llava.data.mixture import read_mixture
from llava.data.sample import encode_conversation
from tests.data.test_conversations import PROCESSOR, TOKENIZER, VIEWS, dataset, no_tokens
from tests.data.test_mixture import record, talk, write_json


def test_many_missing_images_cost_no_item_a_search(folder, caplog):
    """As many as would be looked through one by one: an item tries a few, and then places all over the data."""
    raws = [record(id=str(number), image="gone.png") for number in range(3000)]
    raws += [record(id=f"good {number}") for number in range(300)]
    data = dataset(folder, *raws)
    looked = []
    original = data.records.load_images
    data.records.load_images = lambda *words: looked.append(words) or original(*words)
    with caplog.at_level(logging.WARNING, logger="llava.data.conversations"):
        samples = [data[place] for place in (5, 6, 5)]
    assert all(sample.id.startswith("set/good") for sample in samples)
    assert samples[0].id == samples[2].id
    assert all(32 < len(sample.skipped) < 32 + 200 for sample in samples)
    tried = len(looked)
    assert data[5].skipped == samples[0].skipped
    assert len(looked) == tried + 1, "what was found once is not looked for again"
    assert len(caplog.records) == 20
    assert "further ones are only counted" in caplog.records[-1].getMessage()


def test_what_a_check_has_found_is_not_looked_for_again(folder):
    raws = [record(id="gone", image="gone.png"), record(id="odd", conversations=[]), record(id="good")]
    data = dataset(folder, *raws)
    report = data.check()
    assert (data.unusable[0], data.unusable[1]) == report.examples
    again = ConversationDataset(
        data.records, TOKENIZER, PROCESSOR, VIEWS, image_tokens=no_tokens, config=data.config, unusable=data.unusable
    )
    assert again[0].id == "set/good#0"
    assert again[0].skipped == report.examples


def test_images_are_counted_by_source_and_too_many_missing_ones_are_refused(folder):
    raws = [record(id="a"), record(id="b", image="gone.png"), record(id="c", image=None, conversations=talk("?", "A."))]
    report = dataset(folder, *raws).check(max_missing_images=0.5)
    (source,) = report.sources
    assert (source.name, source.records, source.samples) == ("set", 3, 3)
    assert (source.images, source.looked_for, source.missing) == (2, 2, 1)
    assert source.faults == {"missing image": 1}
    with pytest.raises(
        ValueError, match=r"1 of the 2 images .* \(set 1 of 2\), more than max_missing_images: 0.4 .*gone.png"
    ):
        dataset(folder, *raws).check(max_missing_images=0.4)


def test_of_very_many_records_a_sample_is_looked_for(folder, monkeypatch):
    monkeypatch.setattr("llava.data.checks.LOOK_FOR", 70)
    raws = [record(id=str(number), image="gone.png" if number % 2 else "a.png") for number in range(500)]
    data = dataset(folder, *raws)
    (source,) = data.check().sources
    assert (source.images, source.looked_for) == (500, 70)
    assert 20 < source.missing < 50
    assert len(data.unusable) == source.missing


def test_images_that_all_take_as_many_tokens_count_before_they_are_read(folder):
    prompt, answer = count_text(
        encode_conversation([("user", "<image>\nWhat?"), ("assistant", "That.")], TOKENIZER, answer_block=8)
    )
    mixture = read_mixture(write_json(folder / "set.json", [record(), record(id="x", image="b.png")]))

    def faults(limit: int) -> Any:
        settings = ConversationConfig(max_sequence_length=limit, answer_block=8)
        made = ConversationDataset(
            mixture, TOKENIZER, PROCESSOR, VIEWS, image_tokens=lambda _: 90, tokens_per_image=90, config=settings
        )
        return made.check().faults

    assert faults(prompt + answer + 90) == {}
    with pytest.raises(ValueError, match=r"2 of 2 samples .*too long: 2.* images 90 "):
        faults(prompt + answer + 89)
