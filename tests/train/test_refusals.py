"""What a training step refuses, and what it says."""

import pytest

from llava.constants import IGNORE_INDEX
from llava.data.batch import make_batch
from llava.train.losses.config import LossConfig
from llava.train.model import TrainingModel
from tests.losses_helpers import EVERYTHING, draw_all, image_group, make_sample, patched_model
from tests.model.test_parity import block_image


def test_too_long_a_sample_names_three_lengths():
    model, handle = patched_model()
    module = TrainingModel(model, handle, LossConfig())
    (sample,) = image_group(model)
    batch = make_batch([(sample,)])
    answer = int((sample.labels != IGNORE_INDEX).sum())
    text = len(sample.input_ids) - answer - 2
    image = 2 * (9 + 43)
    model.config.max_sequence_length = text + image + answer
    module(batch, draw_all(batch, measured=False))
    model.config.max_sequence_length -= 1
    with pytest.raises(ValueError, match=f"two images takes {text} .* {image} of image and {answer} of answer"):
        module(batch, draw_all(batch, measured=False))


@pytest.mark.parametrize(
    ("losses", "similarity", "match"),
    [
        ({"reading": 1.0}, "projected", "reading needs drawn pages"),
        ({"relevance_teacher": "boxes"}, "learned", "relevance_teacher: boxes needs drawn pages"),
        ({"pointing_layers": (3,)}, "learned", "pointing_layers must lie from 0 to 2"),
    ],
)
def test_losses_without_what_they_need_are_refused_before_the_first_step(losses, similarity, match):
    model, handle = patched_model(similarity)
    with pytest.raises(ValueError, match=match):
        TrainingModel(model, handle, LossConfig.from_dict(losses))


@pytest.mark.parametrize(
    ("losses", "match"),
    [
        ({"grounding_heads": 5}, "grounding_heads must be at most 4"),
        ({"grounding_layers": (3,)}, "grounding_layers must lie from 0 to 2"),
        ({"pointing_layers": (0, 7)}, "pointing_layers must lie from 0 to 2"),
    ],
)
def test_layers_and_heads_that_do_not_exist_are_refused(losses, match):
    model, handle = patched_model()
    with pytest.raises(ValueError, match=match):
        TrainingModel(model, handle, LossConfig.from_dict({**EVERYTHING, **losses}), drawn=True)


def test_foreign_images_among_drawn_pages_are_refused():
    model, handle = patched_model()
    module = TrainingModel(model, handle, LossConfig.from_dict({"reading": 1.0}), drawn=True)
    batch = make_batch([image_group(model)])
    with pytest.raises(ValueError, match="need drawn pages"):
        module(batch, draw_all(batch))


def test_a_learned_relevance_needs_a_question_with_every_image():
    model, handle = patched_model("learned")
    module = TrainingModel(model, handle, LossConfig(relevance_teacher="gate"))
    batch = make_batch([(make_sample(model, "mute", "<image>", "yes", [block_image(90, 70, 1)]),)])
    with pytest.raises(ValueError, match="needs a question with every image"):
        module(batch, draw_all(batch, gate=True, measured=False))
