"""What pages know about their patches, against slow twins that ask the page's marks themselves."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from llava.data.page_truth import LONGEST, MOST, ROLES, Namer, PageTruth, answer_pointers, page_truth
from llava.data.print_targets import SLOTS, print_targets
from llava.pages import CHARACTERS, COLORS, FAMILIES, NONE, SHAPES, STYLES, Page, draw_page, patch_labels, patch_words
from tests.losses_helpers import tokenizer

GRID, PATCH = 24, 14
STYLE_OF = {"entity_grid": "shapes", "chart_page": "print_small", "doc_page": "print_small"}


@pytest.fixture(scope="module", params=FAMILIES)
def pages(request) -> list[Page]:
    return [draw_page(request.param, "train", 4, index, STYLES[STYLE_OF[request.param]]) for index in range(3)]


@pytest.fixture(scope="module")
def namer() -> Namer:
    return Namer(tokenizer())


def truth_of(page: Page, namer: Namer) -> PageTruth:
    return page_truth(page, (GRID, GRID), PATCH, namer)


def test_it_is_small(pages, namer):
    truth = truth_of(pages[0], namer)
    assert {name: (tuple(part.shape), part.dtype) for name, part in vars(truth).items()} == {
        "classes": ((GRID, GRID * SLOTS), torch.int16),
        "places": ((GRID, GRID * SLOTS), torch.float32),
        "asked": ((GRID, GRID * SLOTS), torch.bool),
        "order": ((GRID**2, SLOTS), torch.int8),
        "turn": ((GRID**2, 2), torch.int8),
        "words": ((GRID**2,), torch.int16),
        "names": ((len(ROLES), GRID**2, MOST), torch.int32),
        "labels": ((2, 2, GRID**2), torch.int16),
    }


def test_characters_are_those_of_the_page_as_the_view_shows_it(pages, namer):
    for page in pages:
        printed, _, _ = page.print()
        side = GRID * PATCH
        targets = print_targets(printed.scaled(side / page.image.width, side / page.image.height), side, side, PATCH)
        truth = truth_of(page, namer)
        assert np.array_equal(truth.classes, targets.classes)
        assert_close(truth.places, torch.from_numpy(targets.places).float())
        assert np.array_equal(truth.asked, targets.asked)


def test_words_labels_and_figures_are_named_as_questions_write_them(pages, namer):
    shown = 0
    for page in pages:
        names = truth_of(page, namer).names
        ids, printed = patch_words(page, (GRID, GRID))
        labels = patch_labels(page, (GRID, GRID), slots=1)
        for patch in range(GRID**2):
            place = divmod(patch, GRID)
            for role, classes, texts in (
                ("word", ids, printed),
                ("row", labels.rows, labels.row_labels),
                ("column", labels.columns, labels.column_labels),
            ):
                number = classes[place]
                text = None if number == NONE else texts[number].strip(":.,;-=()") or texts[number]
                expected = []
                for form in [] if text is None else [f" {text.lower()}", f" {text}"]:
                    expected += tokenizer()(form, add_special_tokens=False).input_ids
                found = [token for token in names[ROLES.index(role), patch].tolist() if token != NONE]
                assert found == list(dict.fromkeys(expected))[:MOST], (role, text)
                shown += bool(found)
            shape, color = int(labels.shapes[place]), int(labels.colors[place])
            found = {token for token in names[ROLES.index("figure"), patch].tolist() if token != NONE}
            drawn = [] if NONE in (shape, color) else [f" {SHAPES[shape]}", f" {COLORS[color]}"]
            wanted = {token for word in drawn for token in tokenizer()(word, add_special_tokens=False).input_ids}
            assert wanted <= found
            assert bool(wanted) == bool(found)
    assert shown > 50


def test_slots_name_the_characters_and_their_order(pages, namer):
    """Words that stand in their patches undisturbed are spelled by their slots, counted from 0, word after word."""
    spelled = 0
    for page in pages:
        truth = truth_of(page, namer)
        order = truth.order.view(GRID, GRID * SLOTS)
        for row in range(GRID):
            places = [
                int(place) for place, code in zip(truth.places[row], truth.classes[row], strict=True) if code >= 0
            ]
            codes = [CHARACTERS[code] for code in truth.classes[row].tolist() if code >= 0]
            for place, character in zip(places, codes, strict=True):
                name = int(truth.names[place % SLOTS, row * GRID + place // SLOTS, 0])
                assert tokenizer().decode([name]).strip() == character
            numbers = [int(order[row, place]) for place in places]
            assert all(-1 <= number <= LONGEST for number in numbers)
            spelled += sum(later == before + 1 for before, later in pairwise(numbers))
    assert spelled > 30 or all(STYLES["shapes"].side == page.image.width for page in pages)


def test_a_batch_of_truths_has_whole_numbers_of_64_bits(pages, namer):
    truths = [truth_of(page, namer) for page in pages]
    stacked = PageTruth.stack(truths, torch.device("cpu"))
    for name, part in vars(stacked).items():
        assert len(part) == len(pages)
        assert part.dtype == {"places": torch.float32, "asked": torch.bool}.get(name, torch.int64)
        assert_close(part[1].float(), getattr(truths[1], name).float(), rtol=0, atol=0)


def test_pointers_lead_to_the_characters_of_the_answer(namer):
    """What stands in the patch and the slot that a pointer names is that character of the answer."""
    pointed = characters = 0
    for index in range(12):
        page = draw_page("doc_page", "train", 9, index, STYLES["print_small"])
        names = truth_of(page, namer).names[:SLOTS, :, 0]
        for question in page.questions:
            pointers = answer_pointers(page, question, (GRID, GRID), PATCH)
            assert len(pointers) in (0, len(question.answer))
            for character, (patch, slot, other_patch, other_slot) in zip(question.answer, pointers, strict=False):
                if character == " ":
                    assert (patch, slot, other_patch, other_slot) == (NONE,) * 4
                if patch == NONE:
                    continue
                characters += 1
                shown = {int(names[slot, patch]), int(names[other_slot, other_patch])} - {NONE}
                pointed += namer.characters[CHARACTERS.index(character)] in shown
    assert characters > 100
    # Where three narrow letters share two slots, one moves on; nearly all stand where their middle is.
    assert pointed > 0.93 * characters


def test_an_answer_of_several_places_or_none_points_nowhere(namer):
    page = draw_page("doc_page", "train", 9, 0, STYLES["print_small"])
    for question in page.questions:
        if len(question.answer_boxes) != 1:
            assert answer_pointers(page, question, (GRID, GRID), PATCH) == []
