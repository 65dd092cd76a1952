"""SHIRG-X inside LaViDa: which tokens are chosen, and what they are told, on a checkpoint as users load it."""

import copy
import json
import shutil

import pytest
import torch
from torch.testing import assert_close

from lavida_shirg_integration import apply_shirg_x
from llava.conversation import conv_templates
from llava.mm_utils import tokenizer_image_token
from llava.model.multimodal_encoder.siglip_text import SigLipTextTower
from llava.question import PromptIds, Question
from shirg.coordinates import padded_page_boxes
from tests.integration_helpers import (
    DECODING,
    GRID,
    IMAGES,
    SMALL,
    ask,
    question,
    set_coord_out,
    views_and_sizes,
)
from tests.model.test_parity import block_image


@pytest.mark.parametrize("budget", SMALL.budgets)
@pytest.mark.parametrize("scaffold", [True, False])
def test_exactly_k_detail_tokens_behind_the_scaffold(patchable, model, budget, scaffold):
    with apply_shirg_x(model, SMALL.replace(budget=budget, scaffold=scaffold)) as handle:
        views, sizes = views_and_sizes(patchable, model)
        pages = handle.encode_pages(views, sizes)
        prefix = handle.select_tokens(pages, [question(patchable, "Total?")] * 3)
        assert [len(row) for row in prefix.sequences] == [budget + 9 * scaffold] * 3
        assert [len(row) for row in prefix.boxes] == [budget + 9 * scaffold] * 3
        kept = prefix.selection.kept
        assert kept.shape == (3, budget)
        assert bool((kept.diff(dim=1) > 0).all()), "raster order"


@pytest.mark.parametrize("similarity", ["projected", "attention", "siglip", "learned"])
@pytest.mark.parametrize("resize", ["stretch", "pad"])
def test_a_batch_encodes_as_its_images_alone(patchable, model, similarity, resize):
    config = SMALL.replace(similarity=similarity, resize=resize, budgets=(17, 31), budget=17)
    asked = [question(patchable, text) for text in ("Total?", "Where is the star?", "Date")]
    with apply_shirg_x(model, config, tokenizer=patchable[0]) as handle:
        set_coord_out(handle)
        views, sizes = views_and_sizes(patchable, model)
        together = model.encode_images(views, sizes, asked)
        for index, row in enumerate(together):
            alone = model.encode_images(views[index : index + 1], sizes[index : index + 1], asked[index : index + 1])
            assert_close(row, alone[0], atol=1e-4, rtol=0)


def test_images_of_one_batch_may_keep_different_numbers(patchable, model):
    """A budget head that reads the entropy of the page: blank pages keep little, busy ones much."""
    pages = [block_image(90, 70, 1), IMAGES[0].resize((1, 1)).resize((90, 70))]
    with apply_shirg_x(model, SMALL) as handle:
        head = model.shirg_x.budget_head
        with torch.no_grad():
            head.hidden.weight.fill_(1.0)
            head.out.weight[0].fill_(-1.0)
            head.out.weight[1:].fill_(0.0)
            head.out.bias.copy_(torch.tensor([50.0, 0.0, -1.0]))
        views, sizes = views_and_sizes(patchable, model, pages)
        asked = [question(patchable, "Total?"), question(patchable, "What is this, and where?")]
        encoded = handle.encode_pages(views, sizes)
        assert encoded.budgets == (48, 32)
        prefix = handle.select_tokens(encoded, asked)
        assert [len(row) for row in prefix.sequences] == [9 + 48, 9 + 32]
        for index in range(2):
            alone = handle.encode_pages(views[index : index + 1], sizes[index : index + 1])
            single = handle.select_tokens(alone, asked[index : index + 1])
            assert_close(prefix.sequences[index], single.sequences[0], atol=1e-4, rtol=0)
        prompts = [ask(patchable, "Total?"), ask(patchable, "What is this, and where?")]
        together = model.generate(prompts, views, sizes, **DECODING)
        for index, row in enumerate(together):
            alone_answer = model.generate(
                prompts[index], views[index : index + 1], sizes[index : index + 1], **DECODING
            )
            assert torch.equal(row, alone_answer[0])


def selected(handle, patchable, text: str) -> torch.Tensor:
    views, sizes = views_and_sizes(patchable, handle.model, IMAGES[:1])
    return handle.select_tokens(handle.encode_pages(views, sizes), [question(patchable, text)]).selection.kept


@pytest.mark.parametrize("similarity", ["projected", "siglip", "learned"])
def test_the_question_changes_the_selection(patchable, model, similarity):
    with apply_shirg_x(model, SMALL.replace(similarity=similarity, budget=32), tokenizer=patchable[0]) as handle:
        first = selected(handle, patchable, "What is the total?")
        assert torch.equal(first, selected(handle, patchable, "What is the total?"))
        assert not torch.equal(first, selected(handle, patchable, "zzz QQQ 9"))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("similarity", ["projected", "siglip", "learned"])
def test_the_answer_never_reaches_the_selection(patchable, model, similarity, training, monkeypatch):
    with apply_shirg_x(model, SMALL.replace(similarity=similarity), tokenizer=patchable[0]) as handle:
        model.train(training)
        seen = []
        select_tokens = handle.select_tokens
        monkeypatch.setattr(handle, "select_tokens", lambda *args: (seen.append(select_tokens(*args)), seen[-1])[1])
        views, sizes = views_and_sizes(patchable, model, IMAGES[:1])
        for text in ("12.50 EUR", "a red star, far to the left of everything", None):
            model.prepare_inputs(ask(patchable, "What is the total?", text), images=views, image_sizes=sizes)
        assert all(torch.equal(seen[0].selection.kept, other.selection.kept) for other in seen[1:])
        assert all(torch.equal(seen[0].sequences[0], other.sequences[0]) for other in seen[1:])
        model.eval()


@pytest.mark.parametrize("similarity", ["projected", "siglip", "learned"])
def test_a_prompt_without_a_user_turn_is_refused_where_the_source_reads_it(patchable, model, similarity):
    with apply_shirg_x(model, SMALL.replace(similarity=similarity), tokenizer=patchable[0]):
        views, sizes = views_and_sizes(patchable, model, IMAGES[:1])
        bare = torch.tensor([3, 5, -200, 7])
        with pytest.raises(ValueError, match="no user turn"):
            model.generate(bare, views, sizes, **DECODING)
        asked = [question(patchable, "Total?")]
        assert model.generate(bare, views, sizes, questions=asked, **DECODING).shape == (1, 8)


def test_a_model_without_tokenizer_says_that_it_cannot_read_the_question(patchable, model, monkeypatch):
    monkeypatch.setattr(model, "prompt_ids", PromptIds.from_config(model.config))
    with apply_shirg_x(model, SMALL):
        views, sizes = views_and_sizes(patchable, model, IMAGES[:1])
        with pytest.raises(ValueError, match="load_pretrained_model"):
            model.generate(ask(patchable, "Total?"), views, sizes, **DECODING)


def test_attention_needs_no_question(patchable, model):
    with apply_shirg_x(model, SMALL.replace(similarity="attention")):
        views, sizes = views_and_sizes(patchable, model, IMAGES[:1])
        assert model.generate(torch.tensor([3, 5, -200, 7]), views, sizes, **DECODING).shape == (1, 8)


def test_siglip_reads_ids_only_with_the_tokenizer(patchable, model):
    with apply_shirg_x(model, SMALL.replace(similarity="siglip")):
        views, sizes = views_and_sizes(patchable, model, IMAGES[:1])
        with pytest.raises(ValueError, match="tokenizer"):
            model.generate(ask(patchable, "Total?"), views, sizes, **DECODING)
        assert model.generate(
            ask(patchable, "Total?"), views, sizes, questions=[question(patchable, "Total?")], **DECODING
        ).shape


def test_a_planted_relevant_patch_is_kept(patchable, model):
    """The patch whose projection is a word of the question beats all others."""
    asked = question(patchable, "star")
    plain = SMALL.replace(budget=32, merge=False, neighbor_weight=0, center_weight=0, ink_first=False)
    with apply_shirg_x(model, plain) as handle:
        views, sizes = views_and_sizes(patchable, model, IMAGES[:1])
        pages = handle.encode_pages(views, sizes)
        word = model.model.embed_tokens(torch.tensor(asked.ids[:1]))
        for planted in (0, 71, 143):
            projected = pages.projected.clone()
            projected[0, planted] = 5 * word[0]
            prefix = handle.select_tokens(
                copy.copy(pages).__class__(**{**vars(pages), "projected": projected}), [asked]
            )
            assert planted in prefix.selection.kept[0].tolist()
            assert prefix.selection.scores.similarity[0].argmax() == planted


def test_padded_pages_keep_as_many_as_they_have(patchable, model):
    """A wide page of 24 patches and a tall one of as many, beside one that can fill every budget."""
    config = SMALL.replace(resize="pad", budgets=(30, 64, 144))
    with apply_shirg_x(model, config) as handle:
        images = [block_image(240, 40, 4), block_image(90, 90, 5), block_image(20, 260, 6)]
        views, sizes = views_and_sizes(patchable, model, images)
        pages = handle.encode_pages(views, sizes)
        assert pages.candidate_counts == (24, 144, 24)
        assert pages.budgets == (24, 144, 24)
        assert handle.encode_pages(views, sizes, budget=25).budgets == (24, 25, 24)
    asked = [question(patchable, "Total?")] * 3
    for budget, wanted in ((64, (24, 64, 24)), ("question", None)):
        offered = config.replace(budget=budget, question_budgets=(32, 64))
        with apply_shirg_x(model, offered) as handle:
            prefix = handle.select_tokens(handle.encode_pages(views, sizes), asked)
            assert prefix.tokens.lengths[::2] == (24, 24)
            assert wanted in (None, prefix.tokens.lengths)
            assert [len(tokens) for tokens in prefix.sequences] == [9 + kept for kept in prefix.tokens.lengths]
            assert (
                sorted(prefix.selection.kept[2, :24].tolist()) == pages.dual.candidates[2].nonzero().flatten().tolist()
            )


def test_padded_pages_keep_their_shape_their_places_and_never_padding(patchable, model):
    wide = block_image(240, 40, 4)
    with apply_shirg_x(model, SMALL.replace(resize="pad", budgets=(20,), budget=20)) as handle:
        views, sizes = views_and_sizes(patchable, model, [wide])
        rows = views[0][0].mean(0)
        assert rows[:60].std() < 0.01
        assert rows[75:90].std() > 0.2
        pages = handle.encode_pages(views, sizes)
        boxes, candidates = padded_page_boxes([(GRID, GRID)], sizes, shapes=[(1, 1)])
        scaffold_boxes, _ = padded_page_boxes([(GRID // 4, GRID // 4)], sizes, shapes=[(1, 1)])
        assert torch.equal(pages.dual.boxes, boxes)
        assert torch.equal(pages.dual.scaffold_boxes, scaffold_boxes)
        assert torch.equal(pages.dual.candidates, candidates)
        prefix = handle.select_tokens(pages, [question(patchable, "Total?")])
        assert bool(candidates[0][prefix.selection.kept[0]].all())
        assert torch.equal(prefix.boxes[0][:9], scaffold_boxes[0])
        assert torch.equal(prefix.boxes[0][9:], prefix.tokens.boxes[0])


def test_scaffold_tokens_are_told_their_own_places(patchable, model):
    with apply_shirg_x(model, SMALL) as handle:
        set_coord_out(handle)
        views, sizes = views_and_sizes(patchable, model, IMAGES[:1])
        pages = handle.encode_pages(views, sizes)
        prefix = handle.select_tokens(pages, [question(patchable, "Total?")])
        embed = model.shirg_x.coordinates
        scaffold = pages.dual.scaffold[0] + embed(pages.dual.scaffold_boxes)[0]
        detail = prefix.tokens.features[0] + embed(prefix.tokens.boxes)[0]
        expected = model.model.mm_projector(torch.cat([scaffold, detail]))
        assert_close(prefix.sequences[0], expected, atol=1e-5, rtol=0)


def test_every_image_of_a_prompt_gets_the_question(patchable, model):
    conversation = conv_templates["llada"].copy()
    conversation.append_message("user", "<image>\n<image>\nWhich has a star?")
    conversation.append_message("assistant", None)
    ids = tokenizer_image_token(conversation.get_prompt(), patchable[0], return_tensors="pt")
    with apply_shirg_x(model, SMALL.replace(budget=32)):
        views, sizes = views_and_sizes(patchable, model, IMAGES[:2])
        prepared = model.prepare_inputs(
            [ids, ask(patchable, "Total?")], images=[*views, views[0]], image_sizes=[*sizes, sizes[0]]
        )
        asked = [question(patchable, "Which has a star?")] * 2
        expected = torch.cat(model.encode_images(views, sizes, asked))
        start = ids.tolist().index(-200)
        assert_close(prepared.embeds[0, start : start + 2 * 41], expected, atol=1e-5, rtol=0)


def test_siglip_reads_the_same_question_from_ids_and_from_text_and_is_frozen(patchable, model, tmp_path):
    with apply_shirg_x(model, SMALL.replace(similarity="siglip"), tokenizer=patchable[0]) as handle:
        views, sizes = views_and_sizes(patchable, model, IMAGES[:1])
        pages = handle.encode_pages(views, sizes)
        asked = question(patchable, "What is the total?")
        from_text = handle.select_tokens(pages, [asked]).selection.scores.similarity
        from_ids = handle.select_tokens(pages, [Question(ids=asked.ids)]).selection.scores.similarity
        assert torch.equal(from_text, from_ids)
        assert not any(parameter.requires_grad for parameter in model.shirg_x.text_tower.parameters())
        handle.save(tmp_path)
        assert not any("text_tower" in key for key in model.state_dict())
    with apply_shirg_x(model, SMALL.replace(similarity="siglip"), weights=tmp_path, tokenizer=patchable[0]) as handle:
        again = handle.select_tokens(pages, [asked]).selection.scores.similarity
        assert torch.equal(from_text, again)


def test_siglip_s_tokenizer_is_read_whatever_class_it_names(tiny_checkpoint, tmp_path):
    shutil.copytree(tiny_checkpoint.parent / "siglip-tiny-patch14-384", tmp_path / "siglip")
    config = tmp_path / "siglip" / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "tokenizer_class": "SiglipTokenizer"}))
    tower = SigLipTextTower.from_directory(tmp_path / "siglip")
    expected = SigLipTextTower.from_directory(tiny_checkpoint.parent / "siglip-tiny-patch14-384")
    assert torch.equal(tower(["What?"]), expected(["What?"]))
    (tmp_path / "siglip" / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json"):
        SigLipTextTower.from_directory(tmp_path / "siglip")


def test_decisions_carry_no_gradient_but_the_tokens_do(patchable, model):
    with apply_shirg_x(model, SMALL.replace(similarity="attention")) as handle:
        views, sizes = views_and_sizes(patchable, model, IMAGES[:1])
        pages = handle.encode_pages(views, sizes)
        prefix = handle.select_tokens(pages, [None])
        assert pages.dual.detail.requires_grad
        assert prefix.tokens.features.requires_grad
        assert not pages.dual.attention_received.requires_grad
        assert not prefix.selection.scores.total.requires_grad


def test_a_question_gets_as_many_tokens_as_it_needs(patchable, model):
    """Different K in one batch, the same K alone, and fixed numbers from the same encoding."""
    config = SMALL.replace(budget="question", question_budgets=(5, 11, 23, 47), question_mass=0.9)
    asked = [question(patchable, text) for text in ("Total?", "Where is the star?", "Date")]
    with apply_shirg_x(model, config) as handle:
        views, sizes = views_and_sizes(patchable, model)
        pages = handle.encode_pages(views, sizes)
        assert pages.budgets is None
        similarity = handle.similarity(pages, asked)
        planted = torch.zeros_like(similarity)
        for image, count in enumerate((4, 9, 20)):
            inked = pages.dual.inked[image].nonzero().flatten()
            assert len(inked) > 47
            planted[image, inked[:count]] = 1.0
        assert handle.question_budgets(pages, planted) == (5, 11, 23)
        prefix = handle.select_tokens(pages, asked, similarity=planted)
        assert [len(row) for row in prefix.sequences] == [9 + 5, 9 + 11, 9 + 23]
        budgets = handle.question_budgets(pages, similarity)
        for index in range(3):
            alone = handle.select_tokens(pages.gather([index]), asked[index : index + 1])
            assert alone.tokens.lengths == budgets[index : index + 1]
        fixed = handle.select_tokens(pages.gather([2, 0], 17), [asked[2], asked[0]])
        assert fixed.tokens.lengths == (17, 17)
    with apply_shirg_x(model, config.replace(budget="auto")) as handle:
        again = handle.encode_pages(views, sizes).gather([0, 1, 2], "question")
        assert handle.select_tokens(again, asked).tokens.lengths == budgets


@pytest.mark.parametrize("similarity", ["projected", "attention", "siglip", "learned"])
def test_blank_paper_is_never_kept_before_ink(patchable, model, similarity):
    """Half a page is paper: of every source, at most what ink does not fill."""
    picture = block_image(90, 70, 1)
    page = picture.copy()
    page.paste((255, 255, 255), (0, 0, 90, 40))
    with apply_shirg_x(model, SMALL.replace(similarity=similarity, budget=32), tokenizer=patchable[0]) as handle:
        views, sizes = views_and_sizes(patchable, model, [page, picture.resize((1, 1))])
        pages = handle.encode_pages(views, sizes)
        assert 32 < int(pages.dual.inked[0].sum()) < 100
        assert not pages.dual.inked[1].any()
        kept = handle.select_tokens(pages, [question(patchable, "Total?")] * 2).selection.kept
        assert bool(pages.dual.inked[0, kept[0]].all())
        assert kept.shape == (2, 32)
        assert bool((kept >= 0).all())
