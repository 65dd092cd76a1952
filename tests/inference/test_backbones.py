"""A session, SHIRG-X and adapters ask nothing of a backbone but its role: Dream, and one written from the documents."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lavida_shirg_integration import apply_shirg_x
from llava.inference.session import Session
from llava.inference.words import Template
from llava.model.builder import load_pretrained_model
from llava.tuning.adapter import load_adapter, save_adapter
from llava.tuning.config import TrainableConfig
from llava.tuning.parameters import group_of, lora_layers
from tests.adapter_helpers import train
from tests.backbone_helpers import OTHERS, lora_names, make_checkpoint, register
from tests.cli_helpers import write_page
from tests.integration_helpers import IMAGES, SMALL, ask, views_and_sizes

QUESTIONS = ["What is red?", "Why?", "How many of them are there, and who says so?"]


@pytest.fixture(scope="module", params=OTHERS)
def checkpoint(
    request: pytest.FixtureRequest, tiny_dream_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patched:
        register(patched)
        yield make_checkpoint(request.param, tiny_dream_checkpoint, tmp_path_factory.mktemp("backbone"))


@pytest.fixture(scope="module")
def other(checkpoint: Path) -> Session:
    return Session.load(checkpoint, device="cpu")


def test_a_newcomer_s_lines_work(other: Session, page: Path) -> None:
    answer = other.ask(page, QUESTIONS[0])
    assert answer.question == QUESTIONS[0]
    assert other.model.config.conversation.header.split("{")[0] == "<|im_start|>"
    ids, asked = other.prompt(QUESTIONS[0])
    # The words between header and end of turn, without the image and the line break behind it.
    assert other.tokenizer.decode(asked.ids) == QUESTIONS[0]
    assert ids.tolist().count(-200) == 1


@pytest.mark.parametrize("way", ["fast", "exact", "one-per-step"])
def test_questions_asked_together_get_the_answers_they_get_alone(other: Session, page: Path, way: str) -> None:
    encoded = other.encode(page)
    together = other.ask(encoded, QUESTIONS, decoding=way)
    for question, answer in zip(QUESTIONS, together, strict=True):
        assert answer.tokens == other.ask(encoded, question, decoding=way).tokens


def test_exact_is_one_position_a_step(other: Session, page: Path) -> None:
    encoded = other.encode(page)
    exact, slow = (other.ask(encoded, QUESTIONS[0], decoding=way) for way in ("exact", "one-per-step"))
    assert exact.tokens == slow.tokens
    assert exact.forwards <= slow.forwards


def test_gaps_are_filled(other: Session, page: Path) -> None:
    filled = other.fill(other.encode(page), Template.parse("It is [2] of [1]."))
    assert len(filled.gaps) == 2
    assert filled.text == f"It is {filled.gaps[0]} of {filled.gaps[1]}."


def test_the_patch_changes_the_answer_s_prompt_and_undoes_itself(checkpoint: Path) -> None:
    loaded = load_pretrained_model(checkpoint, device_map="cpu")
    model, names = loaded[1], set(loaded[1].state_dict())

    def prompt() -> torch.Tensor:
        views, sizes = views_and_sizes(loaded, model, IMAGES[:1])
        with torch.no_grad():
            return model.prepare_inputs(ask(loaded, "What is the total?"), images=views, image_sizes=sizes).embeds

    before = prompt()
    with apply_shirg_x(model, SMALL):
        patched = prompt()
        assert patched.shape[1] < before.shape[1]
    assert torch.equal(prompt(), before)
    assert set(model.state_dict()) == names
    assert "encode_images" not in vars(model)


def test_adapters_find_the_layers_by_what_they_do(checkpoint: Path, tmp_path: Path) -> None:
    loaded = load_pretrained_model(checkpoint, device_map="cpu")
    model, config = loaded[1], TrainableConfig(scope="shirg_x_expanded", rank=3, coord_rank=2)
    train(model, config)
    adapted = {name for name in lora_layers(model) if group_of(f"{name}.") == "language"}
    assert adapted == lora_names(model.config)
    for name in ("model.embed.x", "lm_head.weight", "model.stack.0.mix.weight"):
        assert group_of(name) == "language"
    ids = torch.tensor([[5, 9, 31]])
    wanted = model(ids).logits
    save_adapter(model, tmp_path / "adapter", config)
    tokenizer, again, _, _ = load_pretrained_model(checkpoint, device_map="cpu")
    before = again(ids).logits
    handle = load_adapter(again, tmp_path / "adapter", merge=True, tokenizer=tokenizer)
    assert handle is not None
    torch.testing.assert_close(again(ids).logits, wanted, atol=1e-4, rtol=0)
    assert not torch.allclose(before, wanted, atol=1e-2)


def test_an_adapter_of_another_backbone_is_refused(checkpoint: Path, expanded: tuple[Path, object]) -> None:
    tokenizer, model, _, _ = load_pretrained_model(checkpoint, device_map="cpu")
    with pytest.raises(ValueError, match=r"adapter"):
        load_adapter(model, expanded[0], merge=True, tokenizer=tokenizer)


def test_it_is_saved_and_loaded_to_the_bit(checkpoint: Path, tmp_path: Path) -> None:
    tokenizer, model, _, _ = load_pretrained_model(checkpoint, device_map="cpu")
    model.save_pretrained(tmp_path / "again")
    tokenizer.save_pretrained(tmp_path / "again")
    again = load_pretrained_model(tmp_path / "again", device_map="cpu")[1]
    held = model.state_dict()
    assert all(torch.equal(tensor, held[name]) for name, tensor in again.state_dict().items())


def test_pages_on_disk_are_asked_about(other: Session, tmp_path: Path) -> None:
    page = write_page(tmp_path / "wide.png", (331, 97))
    assert isinstance(other.ask(page, QUESTIONS[0]).text, str)
