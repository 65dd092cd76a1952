"""Settings, records, stored results and command lines with anything in them: taken, or refused with a reason."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llava.data.records import read_record
from llava.eval.results import AnswerRecord
from llava.model.config_file import read_config
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.serve.options import build_parser
from llava.serve.parser import UsageError
from llava.train.config import TrainConfig
from llava.train.losses.config import LossConfig
from llava.tuning.config import TrainableConfig
from shirg.config import ShirgXConfig
from tests.fuzz.damage import damaged, plain, refusal_of

SETTINGS: dict[str, tuple[type[Any], Callable[[dict[str, Any]], object]]] = {
    "shirg_x": (ShirgXConfig, ShirgXConfig.from_dict),
    "decoding": (DecodingConfig, lambda values: DecodingConfig(**values)),
    "losses": (LossConfig, LossConfig.from_dict),
    "trainable": (TrainableConfig, TrainableConfig.from_dict),
    "run": (TrainConfig, TrainConfig.from_dict),
}


@pytest.mark.parametrize("name", SETTINGS)
@settings(deadline=None)
@given(data=st.data())
def test_settings(name: str, data: st.DataObject) -> None:
    kind, read = SETTINGS[name]
    names = st.sampled_from([entry.name for entry in fields(kind)])
    values = data.draw(st.dictionaries(names | st.text(max_size=5), plain, max_size=4))
    _refused_or_taken(lambda: read(values))


@settings(deadline=None)
@given(
    raw=st.fixed_dictionaries(
        {},
        optional={
            "image": plain,
            "video": plain,
            "conversations": plain
            | st.lists(
                st.fixed_dictionaries({"from": st.sampled_from(["human", "gpt", "system"]) | plain, "value": plain}),
                max_size=4,
            ),
            "id": plain,
        },
    )
)
def test_records(raw: dict[str, Any]) -> None:
    record, _ = read_record(raw, id="a", source="b")
    assert record.bad is None or record.bad
    assert record.bad or record.turns


@given(
    line=st.text(max_size=40) | damaged([b'{"id": "a", "page": "b", "scores": {}}']).map(lambda b: b.decode("latin1"))
)
def test_stored_answers(line: str) -> None:
    _refused_or_taken(lambda: AnswerRecord.from_line(line))


@given(data=st.data())
def test_configs_of_checkpoints(
    tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    sound = json.loads((tiny_checkpoint / "config.json").read_text())
    changed = {**sound, **data.draw(st.dictionaries(st.sampled_from(sorted(sound)), plain, max_size=3))}
    directory = tmp_path_factory.mktemp("config")
    (directory / "config.json").write_text(json.dumps(changed))
    _refused_or_taken(lambda: read_config(directory, {}))


COMMANDS = ("ask", "chat", "select", "eval", "bench", "train", "info")
OPTIONS = ("--json", "--budget", "--tokens", "--page", "--questions")
words = st.sampled_from([*COMMANDS, *OPTIONS, "page.png", "why?", "-1", "1e9", "512"]) | st.text(max_size=6)


@settings(deadline=None)
@given(words=st.lists(words, max_size=6))
def test_command_lines(words: list[str]) -> None:
    error = refusal_of(lambda: build_parser().parse_args(words), UsageError, SystemExit)
    # --help and --version leave with 0.
    assert error is None or isinstance(error, UsageError) or error.args == (0,)


def _refused_or_taken(read: Callable[[], object]) -> None:
    error = refusal_of(read, ValueError, TypeError, FileNotFoundError)
    assert error is None or str(error)
