"""Drawn pages as samples."""

import pytest
import torch

from llava.constants import IGNORE_INDEX, IMAGE_TOKEN_INDEX
from llava.data.infill import WHOLE, InfillConfig
from llava.data.page_data import PageDataset, PagesConfig
from llava.data.page_truth import Namer, answer_pointers, page_truth
from llava.mm_utils import process_images
from llava.pages import FAMILIES, STYLES, draw_page
from llava.train.create import page_texts
from tests.losses_helpers import SHIRG_X, page_of, patched_model, tokenizer


@pytest.fixture(scope="module")
def model():
    return patched_model()[0]


def dataset(model, truth_grid=None, **settings):
    config = PagesConfig(**{"style": "shapes", "pages": 7, "first": 4, **settings})
    processor = model.get_vision_tower().image_processor
    return PageDataset(config, tokenizer(), processor, model.config, answer_block=4, truth_grid=truth_grid)


def test_a_group_is_one_page_with_its_own_questions(model):
    data = dataset(model)
    assert len(data) == 7
    for index in range(3):
        number = 4 + index
        family = tuple(FAMILIES)[number % len(FAMILIES)]
        page = draw_page(family, "train", 0, number, STYLES["shapes"])
        (view,) = process_images([page.image], model.get_vision_tower().image_processor, model.config)
        group = data[index]
        assert len(group) == 2
        for sample in group:
            name, _, place = sample.id.rpartition("-")
            assert name == f"{family}-train-0-{number}"
            assert sample.page_question == page.questions[int(place)]
            assert sample.question.text == sample.page_question.question
            assert torch.equal(sample.views[0], view)
            assert sample.image_sizes == (page.image.size,)
            assert [tuple(view.shape) for view in sample.views] == [(1, 3, 14 * SHIRG_X.grid, 14 * SHIRG_X.grid)]
            assert int((sample.input_ids == IMAGE_TOKEN_INDEX).sum()) == 1
            answer = sample.labels[sample.labels != IGNORE_INDEX]
            assert len(answer) % 4 == 0
            assert tokenizer().decode(answer, skip_special_tokens=True) == sample.page_question.answer
        assert group[0].id != group[1].id


def test_the_same_page_is_drawn_again_and_seeds_and_splits_differ(model):
    first, again = dataset(model)[2], dataset(model)[2]
    assert [sample.id for sample in first] == [sample.id for sample in again]
    assert torch.equal(first[0].views[0], again[0].views[0])
    assert torch.equal(first[0].input_ids, again[0].input_ids)
    assert torch.equal(dataset(model, first=5)[1][0].views[0], first[0].views[0])
    for other in ({"seed": 1}, {"split": "shifted"}):
        group = dataset(model, **other)[2]
        assert not torch.equal(group[0].views[0], first[0].views[0])
        assert group[0].id != first[0].id


def test_samples_know_what_their_page_shows_where_a_grid_is_given(model):
    namer = Namer(tokenizer())
    for index in range(3):
        for sample in dataset(model, truth_grid=12)[index]:
            expected = page_truth(page_of(sample.id), (12, 12), 14, namer)
            assert all(torch.equal(getattr(sample.truth, name), part) for name, part in vars(expected).items())
            assert sample.pointers is None, "answers of whole tokens have no token for a character"
    assert [sample.truth for sample in dataset(model)[0]] == [None, None]


def test_spelled_answers_have_a_token_and_a_pointer_for_every_character(model):
    processor = model.get_vision_tower().image_processor
    config = PagesConfig(families=("doc_page",), style="shapes", pages=9, questions=1000)

    def read(**settings):
        data = PageDataset(config, tokenizer(), processor, model.config, truth_grid=12, **settings)
        return [sample for index in range(9) for sample in data[index]]

    pointed = 0
    for sample in read(spelled=True):
        answer = sample.page_question.answer
        ids = sample.input_ids[sample.labels != IGNORE_INDEX][: len(answer)]
        assert [tokenizer().decode([token]) for token in ids] == list(answer)
        expected = answer_pointers(page_of(sample.id), sample.page_question, (12, 12), 14)
        assert (sample.pointers is None) == (not expected)
        if expected:
            assert sample.pointers.tolist() == [list(each) for each in expected]
            pointed += 1
    assert pointed > 3
    gaps = read(spelled=True, infill=InfillConfig(share=1.0))
    assert [sample.pointers for sample in gaps] == [None] * len(gaps), "a gap moves what stands behind it"


def test_at_most_as_many_questions_as_a_page_has(model):
    group = dataset(model, families=("entity_grid",), questions=1000)[0]
    assert len(group) == len(page_of(group[0].id).questions)
    assert [int(sample.id.rpartition("-")[2]) for sample in group] == list(range(len(group)))


def test_questions_are_chosen_by_the_page_s_number(model):
    data = dataset(model, families=("entity_grid",), questions=1)
    assert len({data[index][0].id.rpartition("-")[2] for index in range(7)}) > 2


def test_gaps_are_opened_in_the_answers_that_their_ids_say(model):
    config = PagesConfig(families=("entity_grid",), style="shapes", pages=20)

    def opened(infill):
        processor = model.get_vision_tower().image_processor
        data = PageDataset(config, tokenizer(), processor, model.config, infill=infill)
        token = model.config.infill_token_id
        return [token in sample.labels for index in range(20) for sample in data[index]]

    drawn = opened(InfillConfig(share=0.5))
    assert 8 < sum(drawn) < 32
    assert drawn == opened(InfillConfig(share=0.5))
    assert not any(opened(WHOLE))


@pytest.mark.parametrize("index", [-1, 7])
def test_pages_end(model, index):
    with pytest.raises(IndexError, match="of 7"):
        dataset(model)[index]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"families": ("letters",)}, "families must be of .*got letters"),
        ({"families": ()}, "families must be of .*got none"),
        ({"style": "tiny"}, "style must be of"),
        ({"split": "dev"}, "split must be of"),
        ({"questions": 0}, "questions must be a whole number of at least 1"),
        ({"first": -1}, "first must be a whole number of at least 0"),
    ],
)
def test_wrong_settings_are_refused(settings, match):
    with pytest.raises(ValueError, match=match):
        PagesConfig(**settings)


def test_page_texts_are_questions_and_answers_of_training_pages():
    texts = page_texts(("entity_grid",), ("shapes",), 2)
    page = draw_page("entity_grid", "train", 0, 1, STYLES["shapes"])
    assert texts[-2:] == [page.questions[-1].question, page.questions[-1].answer]
    assert len(texts) == 2 * sum(
        len(draw_page("entity_grid", "train", 0, index, STYLES["shapes"]).questions) for index in range(2)
    )
