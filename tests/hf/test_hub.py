"""From a model to a repository of a hub, with its card, and back by the repository's id; over HTTP, on loopback."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers.utils.hub
from huggingface_hub import constants
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from llava.hf import LavidaProcessor, LlavaLladaForConditionalGeneration
from llava.hf.model_card import draw_card
from llava.inference.session import Session
from llava.model.builder import load_pretrained_model
from tests.hf_helpers import FEW, QUESTION, inputs
from tests.hub_stand_in import TOKEN, Hub, hub_on_loopback
from tests.integration_helpers import IMAGES

REPO = "tester/lavida-tiny"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub of this test's own, which huggingface_hub and transformers take for the hub."""
    with hub_on_loopback() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(transformers.utils.hub, "_hf_api", None)
        yield hub


@pytest.fixture
def pushed(hub: Hub, chosen: tuple[Any, Any]) -> Hub:
    processor, model = chosen
    model.push_to_hub("lavida-tiny", token=TOKEN, commit_message="First")
    processor.push_to_hub("lavida-tiny", token=TOKEN)
    return hub


def test_a_repository_holds_what_was_saved_and_a_card(pushed: Hub) -> None:
    files = pushed.files[REPO]
    assert {"config.json", "generation_config.json", "model.safetensors", "README.md"} <= files.keys()
    assert {"processor_config.json", "tokenizer.json", "chat_template.jinja"} <= files.keys()
    assert pushed.messages[0] == "First"
    card = files["README.md"].decode()
    assert card.startswith("---\nlibrary_name: transformers\npipeline_tag: image-text-to-text\n")
    assert "# lavida-tiny\n" in card
    assert "Nothing was measured of this checkpoint" in card
    assert json.loads(files["generation_config.json"])["threshold"] == 0.95


def test_the_repositorys_id_loads_the_same_model_everywhere(pushed: Hub, chosen: tuple[Any, Any]) -> None:
    processor, model = chosen
    found = AutoModelForImageTextToText.from_pretrained(REPO)
    reader = AutoProcessor.from_pretrained(REPO)
    assert (type(found), type(reader)) == (LlavaLladaForConditionalGeneration, LavidaProcessor)
    assert AutoConfig.from_pretrained(REPO).shirg_x == model.config.shirg_x
    assert found.shirg_x_handle.config == model.shirg_x_handle.config
    expected = model.generate(**inputs(processor), **FEW)
    assert torch.equal(found.generate(**inputs(reader), **FEW).sequences, expected.sequences)
    plain = load_pretrained_model(REPO, device_map="cpu")[1]
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, found.state_dict()[name]), name
    answer = Session.load(REPO, device="cpu").ask(IMAGES[0], QUESTION)
    asked = inputs(reader)
    assert found.generate(**asked).sequences[0, asked["input_ids"].shape[1] :].tolist() == list(answer.tokens)


def test_nothing_but_data_is_fetched(pushed: Hub) -> None:
    pushed.files[REPO] |= {"modeling_evil.py": b"raise SystemExit", "pytorch_model.bin": b"pickle"}
    AutoModelForImageTextToText.from_pretrained(REPO)
    AutoProcessor.from_pretrained(REPO)
    fetched = [line.rpartition("/")[2] for line in pushed.asked if line.startswith("GET /tester")]
    assert "model.safetensors" in fetched
    assert not [name for name in fetched if name.endswith((".py", ".bin"))]


def test_a_card_that_is_there_stays(pushed: Hub, chosen: tuple[Any, Any]) -> None:
    pushed.files[REPO]["README.md"] = b"# Mine"
    chosen[1].push_to_hub("lavida-tiny", token=TOKEN)
    assert pushed.files[REPO]["README.md"] == b"# Mine"


def test_a_repository_that_is_not_there_is_an_error(hub: Hub) -> None:
    with pytest.raises(OSError, match="nobody/nothing"):
        AutoModelForImageTextToText.from_pretrained("nobody/nothing")
    with pytest.raises(FileNotFoundError, match="fetching it from the hub failed"):
        LlavaLladaForConditionalGeneration.from_pretrained("nobody/nothing")


def test_a_card_states_what_was_measured(chosen: tuple[Any, Any], tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(
        json.dumps(
            {
                "settings": {"benchmark": "docpage"},
                "provenance": [{"commit": "abc123", "device": "a CPU"}],
                "num_questions": 1200,
                "total_tokens": 656.0,
                "scores": {
                    "exact_match": {"mean": 0.8449, "low": 0.8, "high": 0.88},
                    "anls": {"mean": 0.9, "low": None, "high": None},
                },
            }
        )
    )
    (tmp_path / "records.jsonl").write_text("")
    card = draw_card(chosen[1].config, [tmp_path], name="mine")
    assert "| docpage | 1,200 | exact_match | 0.845 [0.800, 0.880] | abc123 | a CPU |" in card
    assert "| docpage | 1,200 | anls | 0.900 | abc123 | a CPU |" in card
    assert "Nothing was measured" not in card
    with pytest.raises(FileNotFoundError, match=r"no summary.json"):
        chosen[1].save_pretrained(tmp_path / "out", measured=[tmp_path.parent])
