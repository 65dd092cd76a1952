"""The words of lmms-eval as settings; none of this needs lmms-eval."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from llava.eval.lmms.arguments import Generation, process_device
from llava.eval.lmms.asked import part_of
from llava.inference.decoding import DECODING
from scripts.check_lmms import main as check

ROOT = Path(__file__).parent.parent.parent
SCRIPTS = ("eval_chartqa", "eval_docvqa")


class TestGeneration:
    def test_a_tasks_usual_settings(self) -> None:
        values = {"max_new_tokens": 16, "temperature": 0, "do_sample": False, "top_p": 1.0, "num_beams": 1, "until": []}
        generation = Generation.of(values)
        assert (generation.decoding.max_new_tokens, generation.decoding.temperature) == (16, 0)
        assert generation.decoding.prefix_lm
        assert generation.decoding.stop_at_end_of_turn
        assert (generation.until, generation.ignored, generation.random) == ((), (), False)
        assert values["max_new_tokens"] == 16
        assert "until" in values

    def test_the_models_own_length_replaces_the_tasks(self) -> None:
        assert Generation.of({"max_new_tokens": 1024}, tokens=32).decoding.max_new_tokens == 32
        assert Generation.of({}).decoding == DECODING

    def test_fields_of_the_decoding_are_taken(self) -> None:
        values = {"max_new_tokens": 32, "steps": 16, "schedule": None, "block_length": 8}
        decoding = Generation.of(values, way="one-per-step").decoding
        assert (decoding.steps, decoding.schedule, decoding.block_length) == (16, None, 8)

    @pytest.mark.parametrize(
        ("values", "temperature"),
        [
            ({"temperature": 0.2}, 0.2),
            ({"temperature": 0.2, "do_sample": True}, 0.2),
            ({"temperature": 0.2, "do_sample": False}, 0.0),
            ({"temperature": 0, "do_sample": True}, 0.0),
            ({"do_sample": True}, 1.0),
            ({"temperature": None, "do_sample": None}, 0.0),
        ],
    )
    def test_temperature_means_what_it_means_to_transformers(self, values: dict[str, Any], temperature: float) -> None:
        generation = Generation.of(values)
        assert generation.decoding.temperature == temperature
        assert generation.random == (temperature > 0)

    def test_the_order_of_settling_may_be_drawn_too(self) -> None:
        assert Generation.of({"remasking": "random"}, way="one-per-step").random
        assert not Generation.of({}, way="exact").random

    def test_other_decoders_settings_are_named_unless_they_change_nothing(self) -> None:
        values = {"num_beams": 5, "top_p": 0.9, "top_k": None, "repetition_penalty": 1.0, "image_aspect_ratio": "pad"}
        assert Generation.of(values).ignored == ("num_beams=5", "top_p=0.9", "image_aspect_ratio=pad")

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"max_new_tokens": 16.5}, "max_new_tokens must be a positive whole number"),
            ({"max_new_tokens": 16, "block_length": 5}, "multiple of block_length"),
            ({"temperature": "warm"}, "temperature must be 0 or a positive number, got 'warm'"),
            ({"temperature": -1.0}, "temperature must be 0 or a positive number"),
            ({"do_sample": "maybe"}, "do_sample must be true or false"),
            ({"until": [3]}, "until must be a text or a list of texts"),
            ({"steps": 16}, "steps plans what threshold decides step by step"),
        ],
    )
    def test_what_is_wrong_is_named(self, values: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Generation.of(values)

    @pytest.mark.parametrize(
        ("until", "answer", "expected"),
        [
            (None, " 42 \n\nbecause", "42 \n\nbecause"),
            ("\n\n", "42 \n\nbecause", "42"),
            (["because", "\n\n"], "42 \n\nbecause", "42"),
            (["\n\n", "because"], "42 because\n\nso", "42"),
            (["", "z"], "42", "42"),
            (["4"], "42", ""),
        ],
    )
    def test_an_answer_ends_before_the_first_of_until(self, until: Any, answer: str, expected: str) -> None:
        assert Generation.of({"until": until}).cut(answer) == expected


class TestPartOf:
    def test_images_are_images_and_their_files_too(self) -> None:
        image = Image.new("L", (3, 2))
        assert part_of(image) == ("image", image)
        assert part_of("page.PNG") == ("image", "page.PNG")

    @pytest.mark.parametrize(
        ("visual", "kind"),
        [("film.mp4", "video"), ({"array": [], "sampling_rate": 1}, "audio"), ({"type": "video"}, "video"), (3, "int")],
    )
    def test_all_else_is_called_what_it_is(self, visual: Any, kind: str) -> None:
        assert part_of(visual) == (kind, visual)


def test_each_of_several_processes_has_a_device_of_its_own() -> None:
    assert process_device("auto", 4, "cuda:2") == "cuda:2"
    assert process_device("cpu", 4, "cuda:2") == "cpu"
    assert process_device("cuda:1", 1, "cuda:0") == "cuda:1"
    assert process_device("auto", 1, "cuda:0") == "auto"
    with pytest.raises(ValueError, match=r"device=cuda would put the models of 2 processes on one GPU"):
        process_device("cuda", 2, "cuda:0")


def test_the_entry_point_needs_no_model_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """lmms-eval loads it whenever it starts, so it must be quick and must name a class that is there."""
    from llava.eval.lmms import manifest

    for name in ("lmms_eval", "lmms_eval.models"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace())
    registry = SimpleNamespace(ModelManifest=lambda **values: values)
    monkeypatch.setitem(sys.modules, "lmms_eval.models.registry_v2", registry)
    named = manifest()
    assert named["model_id"] == "lavida"
    for path in (named["simple_class_path"], named["chat_class_path"]):
        module, _, name = path.rpartition(".")
        source = ROOT / (module.replace(".", "/") + ".py")
        assert f"class {name}(LavidaLmms):" in source.read_text()


def run_script(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = ["bash", str(ROOT / "scripts" / f"{name}.sh"), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


class TestScripts:
    @pytest.mark.parametrize("name", SCRIPTS)
    @pytest.mark.parametrize("word", ["-h", "--help"])
    def test_they_say_how_they_are_used(self, name: str, word: str) -> None:
        run = run_script(name, word)
        assert (run.returncode, run.stderr) == (0, "")
        assert run.stdout.startswith(f"usage: scripts/{name}.sh ")
        for option in ("--model", "--adapter", "--budget", "--gpus", "--limit", "--out"):
            assert f"\n  {option} " in run.stdout

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--nope"], "there is no option '--nope'"),
            (["train"], "there is no option 'train'"),
            (["--limit"], "--limit needs a value"),
            (["--model", "--cpu"], "--model needs a value"),
            (["--limit", "0"], "--limit must be a whole number of at least 1, got '0'"),
            (["--budget", "many"], "--budget must be auto, question or a whole number, got 'many'"),
            (["--cpu", "--gpus", "1"], "--cpu and --gpus exclude each other"),
            (["--out", "README.md"], "--out README.md is a file; give a directory"),
        ],
    )
    @pytest.mark.parametrize("name", SCRIPTS)
    def test_a_wrong_option_is_refused_in_one_line(self, name: str, words: list[str], message: str) -> None:
        run = run_script(name, *words)
        assert (run.returncode, run.stdout) == (2, "")
        assert run.stderr == f"{name}: error: {message}; see {ROOT}/scripts/{name}.sh -h\n"

    def test_what_no_process_could_run_is_refused_before_any_starts(self) -> None:
        run = run_script("eval_docvqa", "--budget", "48", "--cpu")
        assert (run.returncode, run.stdout) == (2, "")
        assert run.stderr == (
            "eval_docvqa: error: budget must be auto, question or one of 32, 64, 128, 256, 512, 768, 1024, got 48\n"
        )

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["pretrained=/nowhere,mode=stock"], "no directory /nowhere"),
            (["adapter=/nowhere"], "there is no adapter directory /nowhere"),
            (["", "--gpus", "4096"], "--gpus 4096 is more than the"),
        ],
    )
    def test_what_is_checked_before(self, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert check([*words, "--name", "eval"]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        (line,) = err.splitlines()
        assert line.startswith(f"eval: error: {message}")

    def test_lmms_eval_is_missed_by_name(self, capsys: pytest.CaptureFixture[str]) -> None:
        installed = find_spec("lmms_eval") is not None
        assert check([""]) == (0 if installed else 2)
        assert ("lmms-eval is not installed" in capsys.readouterr().err) is not installed
