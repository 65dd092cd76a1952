"""Dream's checkpoints go through the same auto classes, with its own prompts."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText

from llava.hf import LavidaGenerationConfig
from llava.inference.decoding import find_decoding
from llava.inference.session import Session
from tests.backbone_helpers import make_checkpoint
from tests.hf.conftest import load
from tests.hf_helpers import FEW, QUESTION, answers, inputs, user
from tests.integration_helpers import IMAGES


@pytest.fixture(scope="module")
def checkpoint(tiny_dream_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint("llava_dream", tiny_dream_checkpoint, tmp_path_factory.mktemp("dream"))


def test_prompts_and_answers_are_those_of_a_session(checkpoint: Path) -> None:
    processor, model = load(checkpoint)
    with Session.load(checkpoint, device="cpu") as session:
        ids, _ = session.prompt(QUESTION)
        wanted = session.answer(session.encode(IMAGES[0]), QUESTION, decoding=find_decoding("fast", **FEW)).tokens
    asked = inputs(processor, [user(QUESTION, IMAGES[0])])
    assert torch.equal(asked["input_ids"][0], ids)
    assert "<|im_start|>" in processor.chat_template
    assert tuple(answers(asked, model.generate(**asked, **FEW))[0].tolist()) == wanted


def test_a_saved_processor_keeps_the_template(checkpoint: Path, tmp_path: Path) -> None:
    processor, model = load(checkpoint)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again, _ = load(tmp_path)
    assert again.chat_template == processor.chat_template


def test_the_likeliest_tokens_are_a_setting_that_travels_with_the_model(checkpoint: Path, tmp_path: Path) -> None:
    _, model = load(checkpoint)
    model.generation_config = LavidaGenerationConfig(top_k=3, top_p=0.9, temperature=1.5)
    model.save_pretrained(tmp_path)
    again = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert again.generation_config == model.generation_config
    assert (again.generation_config.decoding.top_k, again.generation_config.decoding.top_p) == (3, 0.9)
    assert LavidaGenerationConfig(top_k=0, top_p=1.0).decoding.top_k is None


def test_of_one_likeliest_token_drawing_takes_that_one(checkpoint: Path) -> None:
    processor, model = load(checkpoint)
    asked = inputs(processor, [user(QUESTION, IMAGES[0])])

    def answer(**settings: float) -> torch.Tensor:
        generator = torch.Generator().manual_seed(5)
        return answers(asked, model.generate(**asked, **FEW, generator=generator, **settings))

    drawn = answer(temperature=3.0)
    assert not torch.equal(drawn, answer())
    assert torch.equal(answer(temperature=3.0, top_k=1), answer(top_k=1))
    assert not torch.equal(drawn, answer(temperature=3.0, top_k=1))
