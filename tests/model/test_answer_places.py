"""Places of an answer: told alike in training and in decoding, by a model that has embeddings of them."""

import pytest
import torch
from torch.testing import assert_close

from llava.constants import IGNORE_INDEX
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.model.language_model.diffusion.generate import denoise
from llava.model.language_model.diffusion.predicting import make_predictor
from llava.model.language_model.llada.configuration_llada import LLaDAConfig
from llava.model.language_model.llada.modeling_llada import LLaDAModel
from llava.model.splice import PromptEmbeds
from llava.train.create import SmallModelConfig, build_tokenizer, create_model, page_texts
from llava.train.losses.objective import answer_places, two_copies
from tests.model.straightforward import denoise_straightforward

PLACES, WIDTH, MASK = 5, 12, 16


class Holder:
    """What ``two_copies`` asks of a model."""

    def __init__(self, language: LLaDAModel) -> None:
        self.model, self.config = language, type("Config", (), {"mask_token_id": MASK})


def language_model(places: int = PLACES) -> LLaDAModel:
    torch.manual_seed(7)
    config = LLaDAConfig(d_model=WIDTH, n_heads=3, n_layers=2, mlp_hidden_size=19, vocab_size=17, answer_places=places)
    return LLaDAModel(config).eval()


def prompts(language: LLaDAModel, labels: torch.Tensor) -> tuple[torch.Tensor, PromptEmbeds]:
    ids = torch.randint(0, 16, labels.shape, generator=torch.Generator().manual_seed(2))
    labels = torch.where(labels == 0, ids, IGNORE_INDEX)
    lengths = tuple(int(row.nonzero().max()) + 1 for row in labels != IGNORE_INDEX)
    return ids, PromptEmbeds(embeds=language.embed_tokens(ids), lengths=lengths, labels=labels)


def test_each_answer_of_a_row_is_counted_from_its_own_first_token():
    labeled = torch.tensor([[0, 0, 1, 1, 1, 0, 1, 1], [1, 0, 0, 1, 0, 0, 0, 0]]).bool()
    assert answer_places(labeled).tolist() == [[0, 0, 0, 1, 2, 0, 0, 1], [0] * 8]


def test_a_model_without_them_embeds_answers_as_any_text():
    language, ids = language_model(places=0), torch.randint(0, 16, (2, 7))
    assert language.place_embeddings(7) is None
    assert torch.equal(language.embed_answer(ids), language.embed_tokens(ids))
    assert not any("places" in name for name, _ in language.named_parameters())


def test_places_beyond_the_table_are_told_nothing():
    language, ids = language_model(), torch.randint(0, 16, (2, 3, 7))
    added = language.embed_answer(ids) - language.embed_tokens(ids)
    table = language.transformer["answer_places"].weight
    assert_close(added[:, :, :PLACES], table.expand(2, 3, -1, -1), rtol=1e-4, atol=1e-6)
    assert not added[:, :, PLACES:].any()
    assert_close(language.place_embeddings(3), table[:3])


@pytest.mark.parametrize("behind_prefix", [False, True])
def test_training_tells_every_token_of_an_answer_its_place_masked_or_not(behind_prefix):
    language = language_model()
    _, batch = prompts(language, torch.tensor([[1, 1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0]]))
    masked = torch.zeros(2, 7, dtype=torch.bool)
    masked[:, [3, 5]] = True
    copies = two_copies(Holder(language), batch, masked, prefix_lm=behind_prefix)
    without = language_model(places=0)
    without.load_state_dict(language.state_dict(), strict=False)
    plain = two_copies(Holder(without), batch, masked, prefix_lm=behind_prefix)
    added, table = copies.embeds - plain.embeds, language.place_embeddings(7)
    labeled = copies.labels != IGNORE_INDEX
    for row, sample in enumerate(copies.samples.tolist()):
        prompt, answer = [(3, 4), (1, 6)][sample]
        assert not added[row, :prompt].any()
        places = labeled[row].nonzero()[:, 0].tolist()
        for count, place in enumerate(places):
            assert_close(added[row, place], table[count % answer], rtol=1e-4, atol=1e-6)
        assert len(places) == answer * (2 if behind_prefix else 1)


def test_decoding_sees_what_training_saw():
    """The first copy's hidden states are those behind a cached prompt."""
    language = language_model()
    ids, batch = prompts(language, torch.tensor([[1, 1, 1, 0, 0, 0, 0]]))
    masked = torch.zeros(1, 7, dtype=torch.bool)
    masked[0, [3, 6]] = True
    copies = two_copies(Holder(language), batch, masked, prefix_lm=True)
    hidden = language(copies.embeds, copies.attention_mask, copies.position_ids)
    predict, _ = make_predictor(language, batch.embeds[:, :3], [3], DecodingConfig(max_new_tokens=4, prefix_lm=True))
    noisy = ids.masked_fill(masked, MASK)[:, 3:]
    assert_close(language.compute_logits(hidden[:, 3:7]), predict(noisy, 0, 4), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cached", [False, True])
def test_the_slow_twin_gives_the_same_answer(cached):
    language = language_model()
    with torch.no_grad():
        language.transformer["answer_places"].weight.mul_(3.0)
    prefix = torch.randn(1, 7, WIDTH)
    settings = DecodingConfig(max_new_tokens=8, steps=5, prefix_lm=cached)
    found = denoise(language, prefix, [7], settings, mask_id=MASK, stop_ids=(), fill_id=0).tokens
    if cached:
        assert torch.equal(found, denoise_straightforward(language, prefix, num_answer=8, steps=5, mask_id=MASK))
    without = language_model(places=0)
    without.load_state_dict(language.state_dict(), strict=False)
    assert not torch.equal(found, denoise(without, prefix, [7], settings, mask_id=MASK, stop_ids=(), fill_id=0).tokens)


def test_a_small_model_is_made_with_them_and_near_places_are_alike():
    tokenizer = build_tokenizer(page_texts(("entity_grid",), ("shapes",), 20), 400)
    sizes = SmallModelConfig(
        width=16, heads=4, vision_layers=2, language_layers=2, vision_mlp=24, language_mlp=24, vocabulary=400,
        answer_places=11,
    )  # fmt: skip
    model = create_model(sizes, tokenizer, [torch.randn(1, 3, 28, 28) for _ in range(9)])
    table = model.get_model().place_embeddings(11).detach()
    assert model.config.answer_places == len(table) == 11
    steps = (table[1:] - table[:-1]).norm(dim=1)
    assert float(steps.mean()) < float(torch.pdist(table).mean())


@pytest.mark.parametrize("places", [-1, 2.5, True])
def test_a_number_of_places_that_is_none_is_refused(places):
    with pytest.raises(ValueError, match="answer_places must be a whole number of at least 0"):
        LLaDAConfig(answer_places=places)
