"""transformers' pipeline for images and text, from a directory's name to the answer."""

from pathlib import Path

import pytest
from transformers import pipeline

from tests.hf_helpers import QUESTION, answers, inputs, user
from tests.integration_helpers import IMAGES


@pytest.fixture(scope="module")
def pipe(quick: Path):
    return pipeline("image-text-to-text", model=str(quick), device="cpu")


def test_answers_are_those_of_generate(pipe, chosen) -> None:
    processor, model = chosen
    expected = []
    for image in IMAGES[:2]:
        asked = inputs(processor, [user(QUESTION, image)])
        expected.append(processor.decode(answers(asked, model.generate(**asked))[0], skip_special_tokens=True))
    chats = [[user(QUESTION, image)] for image in IMAGES[:2]]
    found = [each[0]["generated_text"] for each in pipe(text=chats, return_full_text=False)]
    assert found == expected
    whole = pipe(text=chats[0])[0]["generated_text"]
    assert whole[-1] == {"role": "assistant", "content": expected[0]}


def test_settings_reach_the_denoiser(pipe) -> None:
    chat = [user(QUESTION, IMAGES[0])]
    ids = pipe(text=chat, return_tensors=True, generate_kwargs={"steps": 2, "max_new_tokens": 6})
    assert len(ids[0]["generated_token_ids"]) == inputs(pipe.processor)["input_ids"].shape[1] + 6
    with pytest.raises(ValueError, match="stepz is no setting of masked diffusion"):
        pipe(text=chat, generate_kwargs={"stepz": 2})


def test_a_finished_prompt_is_taken_as_it_is(pipe) -> None:
    prompt = pipe.processor.apply_chat_template([user(QUESTION, IMAGES[0])])
    found = pipe(images=IMAGES[0], text=prompt, return_full_text=False)[0]["generated_text"]
    assert found == pipe(text=[user(QUESTION, IMAGES[0])], return_full_text=False)[0]["generated_text"]


def test_the_model_is_known_to_be_supported(pipe, caplog) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    pipe.check_model_type(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)
    assert not [record for record in caplog.records if "not supported" in record.getMessage()]
    assert type(pipe.model).__name__ in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.values()
