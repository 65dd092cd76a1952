"""Words of a question are taught to look at the patches that show what they name, and answers at those words."""

import torch

from llava.constants import IGNORE_INDEX, IMAGE_TOKEN_INDEX
from llava.data.batch import make_batch
from llava.pages import NONE, patch_words
from llava.train.losses.grounding import grounding_targets
from llava.train.losses.looking import looking_loss
from tests.losses_helpers import draw_all, page_groups, page_of, tokenizer, training_model


def pieces_by_patch(page, grid: int) -> list[set[int]]:
    """The tokens of the word printed over each patch, as a question writes it: small or as it stands."""
    ids, printed = patch_words(page, (grid, grid))
    pieces = []
    for number in ids.flatten().tolist():
        word = "" if number == NONE else printed[number].strip(":.,;-=()") or printed[number]
        forms = [f" {word.lower()}", f" {word}"] if word else []
        found = [tokenizer()(form, add_special_tokens=False).input_ids for form in forms]
        pieces.append({token for form in found for token in form})
    return pieces


def test_words_are_shown_the_kept_patches_they_name_and_answers_those_words():
    module = training_model(reading=0.0, alignment=0.0, pointing=0.0, coordinate=0.0, budget=0.0)
    batch = make_batch(page_groups(module.lavida, 3, first=4))
    given = []
    module.losses["grounding"].register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    parts = module(batch, draw_all(batch, budget=43, measured=False))
    assert set(parts) == {"denoising", "grounding"}
    (seen,) = given
    targets, kept = grounding_targets(seen), seen.prefix.selection.kept
    scaffold, found, answering = 9, 0, 0
    for sample, ids in enumerate(batch.prompts):
        named = pieces_by_patch(page_of(batch.ids[sample]), 12)
        hole = ids.tolist().index(IMAGE_TOKEN_INDEX)
        naming = torch.zeros(targets.shape[2], dtype=torch.bool)
        for place in range(len(ids) + scaffold + 43 - 1):
            expected = torch.zeros(targets.shape[2], dtype=torch.bool)
            source = place - (scaffold + 43) + 1
            if source > hole and batch.labels[sample][source] == IGNORE_INDEX:
                for token, patch in enumerate(kept[sample].tolist()):
                    expected[hole + scaffold + token] = int(ids[source]) in named[patch]
            naming[place] = expected.any()
            for row in (sample, sample + len(batch.prompts)):
                masked = bool(seen.copies.masked[row, place])
                assert torch.equal(targets[row, place], naming if masked else expected), (sample, place)
                answering += masked
            found += int(expected.sum())
    assert found > 5
    assert answering > 5
    value, count = looking_loss([seen.inputs[0]], torch.ones(targets.shape[:2], dtype=torch.bool), targets, heads=2)
    torch.testing.assert_close(parts["grounding"][0], value)
    assert int(parts["grounding"][1]) == int(count) == int(targets.any(2).sum())
