"""Words of a question are taught to look at the patches that show what they name, and answers at those words."""

import numpy as np
import torch

from llava.constants import IGNORE_INDEX, IMAGE_TOKEN_INDEX
from llava.data.batch import make_batch
from llava.pages import CHARACTERS, COLORS, NONE, SHAPES, patch_labels, patch_words
from llava.train.losses.objective import two_copies
from llava.train.losses.pointing import BlockInput, pointing_loss
from tests.losses_helpers import draw_all, page_groups, page_of, tokenizer, training_model


def words_by_patch(page, grid: int) -> list[set[str]]:
    """The definition, written slowly: what stands on each patch, and the first characters of its row's and column's."""
    labels = patch_labels(page, grid, slots=1)
    ids, printed = patch_words(page, grid)
    named: list[set[str]] = []
    for row in range(grid):
        for column in range(grid):
            words = set()
            if ids[row, column] != NONE:
                words.add(printed[ids[row, column]])
            for classes, names in (
                (np.where(ids == NONE, labels.characters[..., 0], NONE), CHARACTERS),
                (labels.shapes, SHAPES),
                (labels.colors, COLORS),
            ):
                if classes[row, column] != NONE:
                    words.add(names[classes[row, column]])
            for classes, texts in ((labels.rows, labels.row_labels), (labels.columns, labels.column_labels)):
                if classes[row, column] != NONE:
                    words.add(texts[classes[row, column]][0])
            named.append(words)
    return named


def test_words_are_shown_the_kept_patches_they_name_and_answers_those_words(monkeypatch):
    module = training_model(reading=0.0, alignment=0.0, pointing=0.0, coordinate=0.0, budget=0.0)
    batch = make_batch(page_groups(module.lavida, 3, first=4))
    asked, prefixes, copied = [], [], []
    monkeypatch.setattr(
        "llava.train.losses.pages.pointing_loss",
        lambda inputs, asking, targets, **_: asked.append((asking, targets)) or (torch.zeros(()), torch.ones(())),
    )
    select = module.handle.select_tokens
    monkeypatch.setattr(
        module.handle, "select_tokens", lambda *a, **k: prefixes.append(select(*a, **k)) or prefixes[-1]
    )
    monkeypatch.setattr(
        "llava.train.model.two_copies", lambda *a, **k: copied.append(two_copies(*a, **k)) or copied[-1]
    )
    parts = module(batch, draw_all(batch, budget=43, measured=False))
    assert set(parts) == {"denoising", "grounding"}
    (asking, targets), kept = asked[0], prefixes[0].selection.kept
    scaffold, found, answering = 9, 0, 0
    special = set(tokenizer().all_special_ids)
    for sample, ids in enumerate(batch.prompts):
        named = words_by_patch(page_of(batch.ids[sample]), 12)
        hole = ids.tolist().index(IMAGE_TOKEN_INDEX)
        naming = torch.zeros(targets.shape[2], dtype=torch.bool)
        for place in range(len(ids) + scaffold + 43 - 1):
            expected = torch.zeros(targets.shape[2], dtype=torch.bool)
            source = place - (scaffold + 43) + 1
            if source > hole and batch.labels[sample][source] == IGNORE_INDEX:
                word = tokenizer().decode([ids[source]]).strip()
                single = len(tokenizer()(word, add_special_tokens=False).input_ids) == 1
                for token, patch in enumerate(kept[sample].tolist()):
                    expected[hole + scaffold + token] = single and word in named[patch]
            naming[place] = expected.any()
            for row in (sample, sample + len(batch.prompts)):
                answers = bool(copied[0].masked[row, place]) and int(ids[source]) not in special
                assert torch.equal(targets[row, place], naming if answers else expected), (sample, place)
                answering += answers
            found += int(expected.sum())
    assert asking.all()
    assert found > 5
    assert answering > 5


def test_positions_may_have_targets_of_their_own():
    module = training_model()
    block = module.lavida.model.blocks[0]
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(2, 7, 32, generator=generator)
    given = BlockInput(
        block=block,
        hidden=hidden,
        rotary=module.lavida.model._rotary(torch.arange(7)[None]),
        attention_mask=None,
    )
    targets = torch.zeros(2, 7, 7, dtype=torch.bool)
    targets[0, 1, 4] = targets[0, 3, 2] = targets[1, 6, 0] = targets[1, 6, 5] = True
    asking = torch.ones(2, 7, dtype=torch.bool)
    asking[0, 3] = False
    total, count = pointing_loss([given], asking, targets, heads=2)
    alone = [
        pointing_loss(
            [given], torch.arange(7) == torch.tensor([[place], [-1]][:: 1 if row == 0 else -1]), rows, heads=2
        )
        for row, place, rows in ((0, 1, targets[:, 1]), (1, 6, targets[:, 6]))
    ]
    assert count == 2
    torch.testing.assert_close(total, alone[0][0] + alone[1][0])
