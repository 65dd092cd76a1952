"""The relevance of gathered words: it finds words that no training has shown it, row by row, and tells of it."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from lavida_shirg_integration import apply_shirg_x
from llava.question import Question
from llava.train.losses.relevance import relevance_loss
from shirg.sources.matched import REACH, MatchedRelevance, run_lengths
from shirg.tokens import GATHERED
from shirg.weights import taught_source
from tests import losses_helpers
from tests.losses_helpers import SHIRG_X, fresh_model, patched_model

OWN, WIDTH, PATCHES, WORDS = 5, 48, 13, 200
STOP = 7
"""The first words name nothing; they stand in every question."""


def pages(words: Tensor, count: int, generator: torch.Generator, within: range) -> tuple[Tensor, Tensor, Tensor]:
    """Patches (count, 13, 149), the words asked (count, 4, 48), and the patch whose row is asked for (count,)."""
    names = torch.stack([torch.randperm(len(within), generator=generator)[: PATCHES * 3] for _ in range(count)])
    names = (names + within.start).view(count, PATCHES, 3)
    answer = torch.randint(PATCHES, (count,), generator=generator)
    asked = torch.randint(STOP, (count, 4), generator=generator)
    asked[torch.arange(count), torch.randint(4, (count,), generator=generator)] = names[torch.arange(count), answer, 1]
    gathered = 3 * words[names] + 0.1 * torch.randn(count, PATCHES, 3, WIDTH, generator=generator)
    own = torch.randn(count, PATCHES, OWN, generator=generator)
    return torch.cat([own, gathered.flatten(2)], -1), words[asked], answer


def test_it_finds_words_that_it_was_never_taught():
    """After 150 small steps on one half of the words, the highest relevance is right on the other half."""
    torch.manual_seed(0)
    relevance = MatchedRelevance(OWN + len(GATHERED) * WIDTH, WIDTH, 16)
    generator = torch.Generator().manual_seed(2)
    words = functional.normalize(torch.randn(WORDS, WIDTH, generator=generator), dim=-1)
    optimizer = torch.optim.Adam(relevance.parameters(), lr=1e-2)
    for _ in range(150):
        patches, asked, answer = pages(words, 16, generator, range(STOP, 100))
        found = relevance(patches, asked, torch.ones(asked.shape[:2], dtype=torch.bool))
        loss, count = relevance_loss(found, functional.one_hot(answer, PATCHES), scale=1.0)
        optimizer.zero_grad()
        (loss / count).backward()
        optimizer.step()
    patches, asked, answer = pages(words, 256, generator, range(100, WORDS))
    found = relevance(patches, asked, torch.ones(asked.shape[:2], dtype=torch.bool))
    assert float((found.argmax(1) == answer).float().mean()) > 0.95


def relevance() -> MatchedRelevance:
    torch.manual_seed(4)
    return MatchedRelevance(OWN + len(GATHERED) * WIDTH, WIDTH, 11)


def test_rows_depend_neither_on_padding_nor_on_their_batch_mates():
    module = relevance()
    patches, words = torch.randn(3, PATCHES, OWN + 3 * WIDTH), torch.randn(3, 5, WIDTH)
    mask = torch.arange(5) < torch.tensor([5, 2, 3])[:, None]
    padded = torch.cat([patches, torch.zeros(3, 4, patches.shape[-1])], 1)
    more = torch.cat([words, words.new_full((3, 2, WIDTH), 9.0)], 1)
    found = module.by_outcome(padded, more, functional.pad(mask, (0, 2)))
    for row, (one, asked, known) in enumerate(zip(patches, words, mask, strict=True)):
        alone = module.by_outcome(one[None], asked[None, known], torch.ones(1, int(known.sum()), dtype=torch.bool))
        assert_close(found[row, :PATCHES], alone[0])
    assert (found[:, PATCHES:] < -100).all()
    assert_close(module(padded, more, functional.pad(mask, (0, 2))), found.logsumexp(-1))


def test_scores_are_float32_in_any_dtype_and_turn_with_no_length_of_a_gathered_vector():
    module, patches = relevance().bfloat16(), torch.randn(2, PATCHES, OWN + 3 * WIDTH).bfloat16()
    words, mask = torch.randn(2, 3, WIDTH).bfloat16(), torch.ones(2, 3, dtype=torch.bool)
    found = module(patches, words, mask)
    assert found.dtype == torch.float32
    longer = torch.cat([patches[..., :OWN], 4 * patches[..., OWN:]], -1)
    assert_close(module(longer, words, mask), found, rtol=1e-4, atol=1e-5)


def test_a_tower_that_gathers_nothing_is_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"144 channels hold no 3 gathered words of 48"):
        MatchedRelevance(3 * WIDTH, WIDTH)
    asked = SHIRG_X.replace(similarity="matched")
    with pytest.raises(ValueError, match=r"gathers words \(gathered_dim: 32\).*choose similarity: learned"):
        apply_shirg_x(fresh_model(), asked)
    # A tower that is wide enough by itself does not gather for that.
    sizes = losses_helpers.SIZES.replace(vision_layers=3, gathers=True)
    monkeypatch.setattr(losses_helpers, "SIZES", sizes)
    gathering = fresh_model()
    gathering.get_vision_tower().gathered = 8
    with pytest.raises(ValueError, match="this one has gathered_dim: 8"):
        apply_shirg_x(gathering, asked)


def test_the_language_model_is_told_nothing_at_first_and_then_how_far_each_token_lies_below_the_best():
    module = relevance()
    found = torch.tensor([[[0.0, -30.0], [-1.0, 2.0], [-2.0, 1.0], [9.0, 9.0]]])
    kept, candidates = torch.tensor([[2, 0, -1]]), torch.tensor([[True, True, True, False]])
    assert not module.telling(found, kept, candidates).any()
    with torch.no_grad():
        module.telling.embed.weight.copy_(torch.eye(WIDTH, 4 + 2 * REACH + 1))
    told = module.telling(found, kept, candidates)[0, :2, :4]
    assert_close(told[:, :2], torch.tensor([[-2.0, -1.0], [0.0, -32.0]]).exp())
    assert_close(told[:, 2:], torch.tensor([[-2.0, -1.0], [0.0, -12.0]]) / 12)


def test_tokens_know_their_place_in_the_answer_from_both_ends():
    """Told as the twin counts them, with nothing likely around; and how sure the best is, whatever the logits' zero."""
    module, width = relevance(), 4 + 2 * REACH + 1
    module.telling.embed = nn.Linear(width, width, bias=False).requires_grad_(False)
    torch.nn.init.eye_(module.telling.embed.weight)
    answer = range(7, 10)
    found = torch.full((1, PATCHES, 2), -50.0)
    found[0, list(answer), 0] = 0.0
    kept, candidates = torch.tensor([[6, *answer, 10]]), torch.ones(1, PATCHES, dtype=torch.bool)
    told = module.telling(found, kept, candidates)[0, :, 4:]
    left, right, sure = told.split([REACH, REACH, 1], dim=-1)
    # Each of the three is likely to 1 / (1 + exp(-5)), so counts end a little below whole numbers.
    share = 1 / (1 + math.exp(-5))
    counts = [0.0, share, share + share**2, share + share**2 + share**3, 0.0]
    for place, (before, behind) in enumerate(zip(counts, reversed(counts), strict=True)):
        for hats, count in ((left[place], before), (right[place], behind)):
            assert float((hats * torch.arange(1, REACH + 1)).sum()) == pytest.approx(count, abs=2e-2)
    assert_close(sure, torch.full((5, 1), -math.log(3) / 4))
    assert_close(module.telling(found + 7, kept, candidates)[0, :, 4:], told)


def test_runs_are_counted_as_a_slow_twin_counts_them_and_no_further_than_they_reach():
    likely = torch.rand(2, 41)
    likely[1, 5:30] = 1.0
    for row, given in zip(run_lengths(likely), likely.tolist(), strict=True):
        for place in range(len(given)):
            expected = sum(math.prod(given[place - back : place + 1]) for back in range(min(REACH, place + 1)))
            assert float(row[place]) == pytest.approx(expected, rel=1e-4)
    assert float(run_lengths(likely)[1, 29]) == pytest.approx(REACH)


def test_what_is_told_reaches_the_detail_tokens_alone(monkeypatch):
    monkeypatch.setattr(losses_helpers, "SIZES", losses_helpers.SIZES.replace(vision_layers=3, gathers=True))
    model, handle = patched_model("matched")
    pixels = torch.randn(1, 3, 168, 168)
    page = handle.encode_pages([pixels], [(400, 300)])
    asked, given = [Question(ids=(5, 9))], torch.arange(144.0)[None]
    before, otherwise = (handle.select_tokens(page, asked, similarity=by).sequences[0] for by in (None, given))
    with torch.no_grad():
        model.shirg_x.relevance.telling.embed.weight.normal_()
    after = handle.select_tokens(page, asked).sequences[0]
    changed = (after != before).any(-1)
    assert changed.tolist() == [False] * 9 + [True] * 61
    # What tokens were chosen by may be another thing; the relevance is told all the same.
    changed = (handle.select_tokens(page, asked, similarity=given).sequences[0] != otherwise).any(-1)
    assert changed.tolist() == [False] * 9 + [True] * 61


def test_the_best_patch_is_one_that_may_be_chosen(monkeypatch):
    """Padding beside a narrow page is seen by the tower, and not told as what others lie below."""
    monkeypatch.setattr(losses_helpers, "SIZES", losses_helpers.SIZES.replace(vision_layers=3, gathers=True))
    model, handle = patched_model("matched", resize="pad", merge=False)
    page = handle.encode_pages([torch.randn(1, 3, 168, 168)], [(60, 160)], budget=29)
    outside = (~page.dual.candidates[0]).nonzero()[0]
    found = torch.zeros(1, 144, 2)
    found[0, outside] = 5.0
    monkeypatch.setattr(handle, "outcomes", lambda *_: found)
    with torch.no_grad():
        model.shirg_x.relevance.telling.embed.weight.copy_(torch.eye(32, 4 + 2 * REACH + 1))
    told: list[Tensor] = []
    project = handle.project_tokens
    monkeypatch.setattr(handle, "project_tokens", lambda *given: told.append(given[2]) or project(*given))
    handle.select_tokens(page, [Question(ids=(5, 9))])
    assert_close(told[0][0, :, :2], torch.ones(29, 2))


def test_weights_say_whose_they_are():
    assert taught_source(["coordinates.a", "relevance.telling.embed.weight", "relevance.gate.0.bias"]) == "matched"
    assert taught_source(["relevance.patch_map.weight"]) == "learned"
    assert taught_source(["coordinates.a"]) is None
