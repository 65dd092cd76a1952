"""Patches in the language model's words: against a slow twin, role by role."""

import json

import torch
import torch.nn.functional as F
from torch.testing import assert_close

from llava.data.page_truth import MOST, ROLES
from llava.pages import NONE
from llava.train.losses.alignment import alignment_loss, share_named
from scripts import measure_reading
from tests.losses_helpers import fresh_model, tokenizer

PAGES, PATCHES, VOCAB = 2, 5, 19
PLANTED = {
    "slot 0": {(0, 1): [3], (0, 4): [2, 7], (1, 0): [12]},
    "slot 2": {(1, 2): [4], (0, 0): [11], (1, 1): [4]},
    "word": {(0, 1): [8, 3, 5], (1, 3): [13]},
    "row": {(1, 2): [3], (1, 3): [17], (0, 3): [3]},
    "column": {(0, 1): [8]},
    "figure": {(0, 2): [1], (1, 2): [18, 0]},
}


def planted_names() -> torch.Tensor:
    names = torch.full((PAGES, len(ROLES), PATCHES, MOST), NONE)
    for role, patches in PLANTED.items():
        for (page, patch), tokens in patches.items():
            names[page, ROLES.index(role), patch, : len(tokens)] = torch.tensor(tokens)
    return names


def in_role(word: torch.Tensor, role: str) -> torch.Tensor:
    """A word's embedding as the label in a role: rolled by that role's share of the channels."""
    shift = ROLES.index(role) * len(word) // len(ROLES)
    return torch.cat([word[len(word) - shift :], word[: len(word) - shift]])


def test_the_loss_is_the_cross_entropy_with_the_words_of_the_batch_in_each_role():
    torch.manual_seed(2)
    projected = torch.randn(PAGES, PATCHES, 13, requires_grad=True)
    embeddings = torch.randn(VOCAB, 13, requires_grad=True)
    found = alignment_loss(projected, planted_names(), embeddings, scale=5.0)
    roles = []
    for role, patches in PLANTED.items():
        rivals = sorted({token for tokens in patches.values() for token in tokens})
        each = []
        for place, tokens in patches.items():
            cosines = [
                F.cosine_similarity(projected[place], in_role(embeddings[rival], role), dim=0) for rival in rivals
            ]
            said = (5 * torch.stack(cosines)).log_softmax(0)
            each.append(-torch.stack([said[rivals.index(token)] for token in tokens]).mean())
        roles.append(torch.stack(each).mean())
    assert_close(found, torch.stack(roles).mean())
    found.backward()
    moved = {place for patches in PLANTED.values() for place in patches}
    assert {tuple(place) for place in (projected.grad.abs().sum(-1) > 0).nonzero().tolist()} == moved
    named = {token for patches in PLANTED.values() for tokens in patches.values() for token in tokens}
    assert {*(embeddings.grad.abs().sum(-1) > 0).nonzero().flatten().tolist()} == named


def test_a_row_s_label_is_told_from_a_column_s():
    """Patches made of their words in their roles are nearly free of loss; with the roles exchanged they are not."""
    torch.manual_seed(5)
    embeddings = F.normalize(torch.randn(VOCAB, 96), dim=-1)
    names = torch.full((1, len(ROLES), 2, MOST), NONE)
    for role, tokens in (("row", (3, 8)), ("column", (8, 3))):
        names[0, ROLES.index(role), :, 0] = torch.tensor(tokens)
    right, wrong = (
        torch.stack([in_role(embeddings[a], one) + in_role(embeddings[b], other) for a, b in ((3, 8), (8, 3))])[None]
        for one, other in (("row", "column"), ("column", "row"))
    )
    losses = [alignment_loss(patches, names, embeddings).item() for patches in (right, wrong)]
    assert losses[0] < 0.01 < 1 < losses[1]


def test_nothing_shown_costs_nothing_and_keeps_its_gradient():
    projected = torch.randn(1, PATCHES, 11, requires_grad=True)
    names = torch.full((1, len(ROLES), PATCHES, MOST), NONE)
    loss = alignment_loss(projected, names, torch.randn(VOCAB, 11))
    loss.backward()
    assert loss.item() == 0
    assert projected.grad is not None


def test_a_patch_is_named_right_if_its_nearest_word_in_a_role_is_one_for_it():
    torch.manual_seed(5)
    embeddings = F.normalize(torch.randn(VOCAB, 96), dim=-1)
    projected = torch.randn(PAGES, PATCHES, 96)
    projected[0, 1] = in_role(embeddings[3], "slot 0") + in_role(embeddings[5], "word")
    projected[0, 4] = in_role(embeddings[7], "slot 0")
    projected[0, 0] = in_role(embeddings[10], "slot 2")
    names = planted_names()
    found = share_named(projected[0], names[0], embeddings)
    assert {role: found[role] for role in ("slot 0", "slot 2", "word", "column")} == {
        "slot 0": 1.0,
        "slot 2": 0.0,
        "word": 1.0,
        "column": 0.0,
    }
    assert found["slot 1"] != found["slot 1"], "nobody shows a second character"


def test_it_is_measured_in_float32_under_autocast():
    torch.manual_seed(2)
    projected, embeddings = torch.randn(PAGES, PATCHES, 11), torch.randn(VOCAB, 11)
    with torch.autocast("cpu", torch.bfloat16):
        found = alignment_loss(projected, planted_names(), embeddings)
    assert_close(found, alignment_loss(projected, planted_names(), embeddings), rtol=1e-6, atol=1e-6)


def test_the_script_measures_every_family_and_names_a_missing_model(tmp_path, capsys):
    fresh_model().save_pretrained(tmp_path / "model")
    tokenizer().save_pretrained(tmp_path / "model")
    assert measure_reading.main([str(tmp_path / "model"), "--style", "shapes", "--pages", "2"]) == 0
    *lines, measured = capsys.readouterr().out.splitlines()
    found = json.loads(measured)
    assert [line.split()[0] for line in lines] == list(found) == ["entity_grid", "chart_page", "doc_page"]
    assert {"figure", "row", "column"} <= set(found["entity_grid"]) <= {*ROLES}
    assert all(0 <= share < 0.5 for shares in found.values() for share in shares.values())
    assert measure_reading.main([str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err
