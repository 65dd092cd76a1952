"""Answers during training: what counts as right, and that processes together ask every question once."""

import pytest
import torch

from llava.constants import IGNORE_INDEX
from llava.data.batch import make_batch
from llava.data.page_data import PageDataset, PagesConfig
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.model.language_model.diffusion.progress import Progress
from llava.train.validation import Answered, Validation, answer_groups
from tests.losses_helpers import fresh_model, image_group, page_groups, patched_model, text_group, tokenizer

DECODING = DecodingConfig(max_new_tokens=8, block_length=8, prefix_lm=True)


def validation(model, **settings):
    config = PagesConfig(families=("entity_grid",), style="shapes", split="validation", pages=5)
    pages = PageDataset(config, tokenizer(), model.get_vision_tower().image_processor, model.config, answer_block=8)
    return Validation(pages=pages, tokenizer=tokenizer(), decoding=DECODING, **settings)


def say(model, monkeypatch, tell):
    """Let the model answer what ``tell`` gives for the number of the row, and note the prompts' lengths."""
    lengths = []

    def denoise(prepared, decoding):
        lengths.extend(prepared.lengths)
        rows = [tokenizer()(tell(row) + "<|eot_id|>noise").input_ids for row in range(len(prepared.lengths))]
        rows = [torch.tensor(row) for row in rows]
        tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=9)
        return Progress.start(tokens, mask_id=500)

    monkeypatch.setattr(model, "denoise", denoise)
    return lengths


def test_answers_come_with_the_right_ones_and_their_kinds(monkeypatch):
    model, handle = patched_model()
    groups = [*page_groups(model, 2), text_group(model), image_group(model)]
    samples = [sample for group in groups for sample in group]
    lengths = say(model, monkeypatch, lambda row: f" number {row} ")
    found = answer_groups(model, handle, tokenizer(), groups, DECODING, budget=29)
    assert [answered.id for answered in found] == [sample.id for sample in samples]
    assert [answered.kind for answered in found[:4]] == [sample.page_question.kind for sample in samples[:4]]
    assert [answered.kind for answered in found[4:]] == ["", ""]
    assert [answered.right for answered in found[:4]] == [sample.page_question.answer for sample in samples[:4]]
    assert found[4].right == "it is blue, I think"
    assert [answered.answer for answered in found] == [f"number {row}" for row in range(6)]
    prompts = [int((sample.labels == IGNORE_INDEX).sum()) for sample in samples]
    images = [len(sample.views) for sample in samples]
    expected = [prompt + number * (9 + 29 - 1) for prompt, number in zip(prompts, images, strict=True)]
    assert lengths == expected


def test_right_is_the_exact_match_of_the_metrics():
    def answered(answer):
        return Answered(id="x", kind="", right="dark red", answer=answer)

    assert answered(" dark red\n").is_right
    assert answered("Dark red").is_right
    assert not answered("red").is_right


@pytest.mark.parametrize("num_shards", [1, 3])
def test_processes_together_ask_every_question_once(monkeypatch, num_shards):
    model, handle = patched_model()
    checked = validation(model, budgets=(29, None), batch_pages=2)
    groups = [checked.pages[index] for index in range(5)]
    popular = groups[0][0].page_question.answer
    say(model, monkeypatch, lambda row: popular)
    totals = {}
    for shard in range(num_shards):
        for key, pair in checked.count_right(model, handle, shard=shard, num_shards=num_shards).items():
            totals[key] = tuple(map(sum, zip(totals.get(key, (0, 0)), pair, strict=True)))
    expected = {}
    for sample in [sample for group in groups for sample in group]:
        for budget in (29, None):
            right, asked = expected.get((budget, sample.page_question.kind), (0, 0))
            hit = sample.page_question.answer == popular
            expected[budget, sample.page_question.kind] = (right + hit, asked + 1)
    assert totals == expected
    assert sum(right for right, _ in totals.values()) >= 2


@pytest.mark.parametrize("way", ["none", "stock"])
def test_lavida_s_own_encoding_answers_too(way):
    model, handle = (fresh_model(), None) if way == "none" else patched_model(mode="stock")
    groups = [image_group(model), text_group(model)]
    found = answer_groups(model.eval(), handle, tokenizer(), groups, DECODING)
    assert len(found) == 2


def test_answers_are_those_of_generate():
    model, handle = patched_model()
    model.eval()
    groups = page_groups(model, 2)
    batch = make_batch(groups)
    found = answer_groups(model, handle, tokenizer(), groups, DECODING)
    for row, answered in enumerate(found):
        prompt = batch.prompts[row][batch.labels[row] == IGNORE_INDEX]
        place = batch.image_index[row]
        tokens = model.generate(
            [prompt],
            [batch.views[place]],
            [batch.image_sizes[place]],
            questions=[batch.questions[row]],
            decoding=DECODING,
        )[0].tolist()
        end = model.config.eot_token_id
        tokens = tokens[: tokens.index(end)] if end in tokens else tokens
        assert answered.answer == tokenizer().decode(tokens, skip_special_tokens=True).strip()
