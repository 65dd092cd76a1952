"""A fresh small model: its first weights, its tokenizer, and that it loads as a released checkpoint does."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from llava.model.builder import load_pretrained_model
from llava.pages import COLORS, FAMILIES, SHAPES
from llava.pages.lexicon import SMALL
from llava.train.create import (
    CHAT_TEMPLATE,
    SPECIAL,
    SmallModelConfig,
    build_tokenizer,
    create_model,
    drawn_views,
    page_texts,
    wave_positions,
    whitened_filters,
)
from tests.losses_helpers import SIZES, fresh_model, tokenizer


def test_the_same_seed_makes_the_same_model_and_leaves_the_caller_s_chance_alone():
    torch.manual_seed(3)
    expected = torch.rand(5)
    torch.manual_seed(3)
    first = fresh_model().state_dict()
    assert torch.equal(torch.rand(5), expected)
    second = fresh_model().state_dict()
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    other = create_model(SmallModelConfig(**{**SIZES.to_dict(), "seed": 1}), tokenizer(), drawn_views(168, "shapes", 2))
    assert not torch.equal(other.state_dict()["model.mm_projector.0.weight"], first["model.mm_projector.0.weight"])


def test_it_loads_like_a_released_checkpoint(tmp_path):
    model = fresh_model()
    model.save_pretrained(tmp_path / "fresh")
    tokenizer().save_pretrained(tmp_path / "fresh")
    words, loaded, processor, length = load_pretrained_model(tmp_path / "fresh", device_map="cpu")
    assert length == model.config.max_sequence_length
    assert processor.size == {"height": 384, "width": 384} or tuple(processor.size) == (384, 384)
    state = loaded.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    for name, word in SPECIAL.items():
        assert getattr(loaded.config, name) == words.convert_tokens_to_ids(word) != words.unk_token_id
    assert words.chat_template == CHAT_TEMPLATE
    ids = torch.randint(0, len(words), (1, 7))
    assert_close(loaded(ids).logits, model.eval()(ids).logits)


def test_names_are_single_tokens_and_digits_stand_alone():
    words = tokenizer()
    for name in (*SHAPES, *COLORS):
        for form in (name, f" {name}"):
            assert len(words(form).input_ids) == 1, form
    assert len(words("2026").input_ids) == 4
    for text in ("Größe: 12 µm", "<|eot_id|>", "tab\tand\nline"):
        assert words.decode(words(text).input_ids) == text
    assert words("<|mdm_mask|>").input_ids == [words.mask_token_id]
    assert len(build_tokenizer(["abc abc"], 330)) <= 330


def test_filters_whiten_what_is_on_the_pages():
    torch.manual_seed(4)
    views = torch.cat(drawn_views(168, "shapes", 8))
    filters, bias = whitened_filters(views, 24, floor=0.0, gain=0.7)
    assert filters.shape == (24, 3, 14, 14)
    patches = F.unfold(views.double(), 14, stride=14).transpose(1, 2).flatten(0, 1)
    inked = patches.std(1) > 0.1
    used = torch.cat([patches[inked], patches[~inked][: int(inked.sum()) // 4]])
    answers = used @ filters.flatten(1).double().T + bias
    assert_close(answers.mean(0), torch.zeros(24, dtype=torch.float64), atol=1e-4, rtol=0)
    assert_close(torch.cov(answers.T), 0.49 * torch.eye(24, dtype=torch.float64), atol=5e-3, rtol=0)
    floored, _ = whitened_filters(views, 24, floor=1.0)
    assert floored.norm() < filters.norm()


def test_positions_are_waves_of_both_coordinates():
    waves = wave_positions(5, 12)
    for place in range(25):
        row, column = divmod(place, 5)
        expected = []
        for center in ((column + 0.5) / 5, (row + 0.5) / 5):
            turns = [math.pi * center * scale for scale in (1, 4, 16)]
            expected += [math.sin(turn) for turn in turns] + [math.cos(turn) for turn in turns]
        assert_close(waves[place], torch.tensor(expected), atol=1e-5, rtol=0)


def test_a_fresh_language_model_passes_on_what_it_looks_at_and_says_the_word_it_reads():
    language = fresh_model().get_model()
    normed = torch.randn(7, SIZES.width)
    for block in language.blocks:
        assert_close(block.attn_out(block.v_proj(normed)), 0.7 * normed, rtol=1e-4, atol=1e-5)
    ids = torch.arange(0, len(tokenizer()), 77)
    assert language.compute_logits(language.embed_tokens(ids)).argmax(1).tolist() == ids.tolist()


def test_views_are_of_every_family():
    views = drawn_views(84, "shapes", 2)
    assert [tuple(view.shape) for view in views] == [(1, 3, 84, 84)] * 2 * len(FAMILIES)
    assert all(-1 <= view.min() < view.max() <= 1 for view in views)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"width": 36, "heads": 2}, "multiple of 4 \\* heads"),
        ({"width": 640, "heads": 4}, "at most 588"),
        ({"vision_layers": 1}, "vision_layers must be a whole number of at least 2"),
        ({"vocabulary": 100}, "vocabulary must be a whole number of at least 300"),
        ({"heads": True}, "heads must be a whole number"),
    ],
)
def test_wrong_sizes_are_refused(settings, match):
    with pytest.raises(ValueError, match=match):
        SmallModelConfig(**settings)


def test_the_words_of_the_smallest_pages_are_single_tokens():
    words = build_tokenizer(page_texts(tuple(FAMILIES), ("shapes",), 20), SmallModelConfig().vocabulary)
    forms = [form for word in SMALL.words for form in (word, f" {word}")] + [
        f" {name.lower()}" for name in SMALL.fields
    ]
    assert {form: len(words(form, add_special_tokens=False).input_ids) for form in forms} == dict.fromkeys(forms, 1)
