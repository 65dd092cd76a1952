"""Dense losses: what patches show against the page generator's labels, and words against the vocabulary."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from llava.data.page_truth import LABELS, NAMES, ROLES, patch_targets
from llava.pages import CHARACTERS, COLORS, HUES, NONE, SHAPES, WORDS, Page, patch_labels, patch_words
from llava.train.create import build_tokenizer, page_texts
from llava.train.losses.reading import (
    NOTHING_WEIGHT,
    ReadingHeads,
    WordTable,
    alignment_loss,
    reading_loss,
    share_named,
)
from scripts import measure_reading
from tests.losses_helpers import fresh_model, tokenizer
from tests.pages_helpers import pages

GRID, DIM = 12, 7


def shown_by_loops(page: Page, grid: int, place: tuple[int, int]) -> dict[str, int]:
    """The definition for one patch, written slowly."""
    labels = patch_labels(page, grid, slots=3)
    ids, printed = patch_words(page, grid)
    characters = labels.characters[place].tolist()
    word = NONE
    if ids[place] != NONE:
        text = printed[ids[place]]
        if text in WORDS:
            word, characters = WORDS.index(text), [NONE] * 3
        elif len(text) <= 3:
            characters = [CHARACTERS.index(letter) for letter in text] + [NONE] * (3 - len(text))
    shown = {"character": characters[0], "second": characters[1], "third": characters[2], "word": word}
    shown["shape"] = int(labels.shapes[place])
    color = int(labels.colors[place])
    shown["color"] = color if shown["shape"] != NONE or COLORS[color] in HUES else NONE
    for name, ids, texts in (
        ("row", labels.rows, labels.row_labels),
        ("column", labels.columns, labels.column_labels),
        ("panel", labels.panels, labels.panel_labels),
    ):
        shown[name] = NONE
        if ids[place] != NONE:
            first = texts[ids[place]].split()[0]
            shown[name] = LABELS.index(first if first in LABELS else first[0])
    return shown


@pytest.mark.parametrize(
    ("family", "style"),
    [
        ("entity_grid", "shapes"),
        ("chart_page", "shapes"),
        ("doc_page", "shapes"),
        ("doc_page", "typed"),
        ("chart_page", "typed_full"),
    ],
)
def test_targets_are_what_the_page_shows_patch_by_patch(family, style):
    drawn = pages(family, style, "train")[:5]
    targets = patch_targets(drawn, GRID)
    assert set(targets) == set(NAMES)
    for row, page in enumerate(drawn):
        for place in range(GRID**2):
            expected = shown_by_loops(page, GRID, divmod(place, GRID))
            assert {name: int(target[row, place]) for name, target in targets.items()} == expected
    if family == "entity_grid":
        wanted = {"character", "shape", "color", "row", "column"}
    else:
        wanted = {"character", "second", "word", "column"} | ({"panel"} if style == "typed_full" else set())
    assert {name for name, target in targets.items() if (target != NONE).any()} >= wanted


def test_every_patch_of_a_form_s_value_says_all_of_it_and_whose_it_is():
    """A word's patches share its class, a number's its digits; both know the field that they are the value of."""
    page = next(page for page in pages("doc_page", "shapes", "train") if page.questions[-1].kind == "field")
    targets = {name: target[0].view(GRID, GRID) for name, target in patch_targets([page], GRID).items()}
    for question in (question for question in page.questions if question.kind == "field"):
        x0, y0, x1, y1 = question.answer_box
        middle = (int((y0 + y1) / 2 * GRID), int((x0 + x1) / 2 * GRID))
        field = question.question.removesuffix("?").split()
        assert LABELS[targets["row"][middle]].lower() in field
        if question.answer.isdigit():
            names = ("character", "second")[: len(question.answer)]
            assert "".join(CHARACTERS[targets[name][middle]] for name in names) == question.answer
        else:
            assert WORDS[targets["word"][middle]] == question.answer


def planted_targets(batch: int = 2, patches: int = 5) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    targets = {
        name: torch.randint(0, len(classes), (batch, patches), generator=generator) for name, classes in NAMES.items()
    }
    for target in targets.values():
        target[0, 2] = target[1, 1:4] = NONE
    return targets


def test_reading_loss_is_the_weighted_mean_by_loops():
    torch.manual_seed(1)
    targets = planted_targets()
    logits = ReadingHeads(DIM)(torch.randn(2, 5, DIM))
    found = reading_loss({name: values.bfloat16() for name, values in logits.items()}, targets)
    for row in range(2):
        kinds = []
        for name, scores in logits.items():
            total = weights = 0.0
            for place in range(5):
                target = int(targets[name][row, place])
                weight = NOTHING_WEIGHT if target == NONE else 1.0
                rounded = scores[row, place].bfloat16().float()
                total += weight * -rounded.log_softmax(0)[target].item()  # NONE is -1: the last class
                weights += weight
            kinds.append(total / weights)
        assert found[row].item() == pytest.approx(np.mean(kinds), rel=1e-5)
    assert found.dtype == torch.float32


def test_the_word_table_names_a_class_by_its_one_token_forms():
    words_of = build_tokenizer(page_texts(("entity_grid",), ("shapes",), 20), 1536)
    table = WordTable(words_of)
    targets = {name: torch.full((1, 3), NONE) for name in NAMES}
    targets["shape"][0, 1] = SHAPES.index("circle")
    targets["color"][0, 1] = COLORS.index("red")
    targets["row"][0, 2] = LABELS.index("B")
    targets["word"][0, 0] = WORDS.index("Gate")
    words = table(targets)
    vocab = words_of.get_vocab()
    tokens = table.tokens.tolist()
    assert tokens == sorted(set(tokens))
    assert list(words) == list(ROLES)
    assert words["figure"].shape == (1, 3, len(tokens))
    assert words["figure"][0, 2].sum() == 0
    found = {tokens[place] for place in words["figure"][0, 0].nonzero().flatten().tolist()}
    assert found == {vocab[form] for form in ("Gate", "ĠGate", "Ġgate")}
    forms = [form for form in ("circle", "Ġcircle", "Ġcircles", "red", "Ġred") if form in vocab]
    assert len(forms) >= 4
    named = {vocab[form] for form in forms}
    found = words["figure"][0, 1]
    assert {tokens[place] for place in found.nonzero().flatten().tolist()} == named
    circles = found[[tokens.index(vocab[form]) for form in forms if "circle" in form]]
    assert_close(circles.sum(), torch.tensor(0.5))
    assert_close(found.sum(), torch.tensor(1.0))
    labels = [ids for ids in (words_of(t, add_special_tokens=False).input_ids for t in ("B", " B")) if len(ids) == 1]
    assert sorted(tokens[place] for place in words["row"][0, 2].nonzero().flatten()) == sorted(ids[0] for ids in labels)
    assert words["row"][0, 2].sum() == 1
    assert words["row"][0, :2].sum() == words["column"].sum() == 0


def planted_words(vocab: int) -> dict[str, torch.Tensor]:
    words = {role: torch.zeros(2, 5, vocab) for role in ROLES}
    words["figure"][0, 1, 3] = 1
    words["figure"][0, 4, [2, 7]] = 0.5
    words["row"][1, 2, 3] = 1
    words["column"][0, 1, 8] = 1
    words["panel"][0, 4, 13] = 1
    words["second"][1, 2, 4] = 1
    words["third"][0, 4, 11] = 1
    return words


def test_alignment_loss_is_the_cross_entropy_with_all_cosines_in_each_role():
    torch.manual_seed(2)
    vocab, width = 19, 13
    projected = torch.randn(2, 5, width, requires_grad=True)
    embeddings = torch.randn(vocab, width, requires_grad=True)
    words = planted_words(vocab)
    found = alignment_loss(projected, words, embeddings, scale=5.0)
    expected = torch.zeros(2)
    for shift, role in ((0, "figure"), (2, "second"), (4, "third"), (6, "row"), (8, "column"), (10, "panel")):
        for row in range(2):
            each = []
            for place in words[role][row].sum(-1).nonzero().flatten().tolist():
                rolled = [torch.cat([vector[width - shift :], vector[: width - shift]]) for vector in embeddings]
                cosines = torch.stack([F.cosine_similarity(projected[row, place], vector, dim=0) for vector in rolled])
                each.append(-(words[role][row, place] * (5 * cosines).log_softmax(0)).sum())
            if each:
                expected[row] += torch.stack(each).mean() / 6
    assert_close(found, expected)
    found.sum().backward()
    assert (projected.grad.abs().sum(-1) > 0).nonzero().tolist() == [[0, 1], [0, 4], [1, 2]]
    assert (embeddings.grad.abs().sum(-1) > 0).all()


def test_alignment_tells_a_row_s_label_from_a_column_s():
    """Patches made of their words in their roles are nearly free of loss; with the roles exchanged they are not."""
    torch.manual_seed(5)
    embeddings = F.normalize(torch.randn(19, 96), dim=-1)
    words = {role: torch.zeros(1, 2, 19) for role in ROLES}
    words["row"][0, :, 3] = words["column"][0, :, 8] = 1
    right = embeddings[3].roll(48) + embeddings[8].roll(64)
    wrong = embeddings[3].roll(64) + embeddings[8].roll(48)
    losses = [alignment_loss(patch.expand(1, 2, -1), words, embeddings).item() for patch in (right, wrong)]
    assert losses[0] < 0.1 < 1 < losses[1]


def test_a_patch_is_named_right_if_its_nearest_word_in_a_role_is_one_for_it():
    torch.manual_seed(5)
    embeddings = F.normalize(torch.randn(19, 96), dim=-1)
    words = planted_words(19)
    projected = torch.randn(2, 5, 96)
    projected[0, 1] = embeddings[3] + embeddings[8].roll(64)
    projected[0, 4] = embeddings[2] + embeddings[11].roll(32)
    projected[1, 2] = embeddings[4].roll(16) + embeddings[5].roll(48)
    found = share_named(projected, words, embeddings)
    expected = {"figure": 1, "second": 1, "third": 1, "row": 0, "column": 1, "panel": 0}
    assert {role: share.item() for role, share in found.items()} == expected
    nothing = share_named(projected, {role: torch.zeros_like(table) for role, table in words.items()}, embeddings)
    assert all(bool(share.isnan()) for share in nothing.values())


def test_alignment_is_measured_in_float32_under_autocast():
    torch.manual_seed(2)
    projected, embeddings = torch.randn(2, 5, 11), torch.randn(19, 11)
    words = planted_words(19)
    with torch.autocast("cpu", torch.bfloat16):
        found = alignment_loss(projected, words, embeddings)
    assert_close(found, alignment_loss(projected, words, embeddings), rtol=1e-6, atol=1e-6)


def test_the_script_measures_every_family_and_names_a_missing_model(tmp_path, capsys):
    fresh_model().save_pretrained(tmp_path / "model")
    tokenizer().save_pretrained(tmp_path / "model")
    assert measure_reading.main([str(tmp_path / "model"), "--style", "shapes", "--pages", "2"]) == 0
    *lines, measured = capsys.readouterr().out.splitlines()
    found = json.loads(measured)
    assert [line.split()[0] for line in lines] == list(found) == ["entity_grid", "chart_page", "doc_page"]
    assert set(found["entity_grid"]) == {"figure", "row", "column"}
    assert all(0 <= share < 0.5 for shares in found.values() for share in shares.values())
    assert measure_reading.main([str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err
