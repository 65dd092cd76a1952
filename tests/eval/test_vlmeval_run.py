"""VLMEvalKit's own run on small local data; where VLMEvalKit is not installed, these tests are skipped."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from llava.inference.checkpoint import BUNDLED_MODEL, Checkpoint
from llava.inference.decoding import DECODING
from llava.inference.dialog import Turn, answer_dialogs, prepare_dialog
from llava.inference.session import Session
from llava.serve.demo import GALLERIES

# It is looked for and not imported, since an import of it changes the whole process.
pytestmark = [
    pytest.mark.skipif(find_spec("vlmeval") is None, reason="VLMEvalKit is not installed"),
    pytest.mark.filterwarnings("default"),
]

ROOT = Path(__file__).parent.parent.parent
TOKENS = 8
ENTRIES = json.loads((GALLERIES["typed"] / "pages.json").read_text())[:4]
CHOICES = {"A": "one", "B": "another"}


def image_of(entry: dict[str, Any]) -> str:
    return str(GALLERIES["typed"] / entry["image"])


@pytest.fixture(scope="module")
def session() -> Session:
    return Session.open(Checkpoint.resolve(BUNDLED_MODEL, changes={"budget": 512}), device="cpu", dtype="float32")


def answer(session: Session, images: Sequence[str], text: str) -> str:
    dialog = prepare_dialog(session, [Turn(parts=(*map(session.encode, images), text))])
    return answer_dialogs(session, [dialog], decoding=replace(DECODING, max_new_tokens=TOKENS))[0].text


def choice_prompt(question: str, options: dict[str, str]) -> str:
    """As VLMEvalKit asks questions with options."""
    listed = "".join(f"{letter}. {text}\n" for letter, text in options.items())
    return f"Question: {question}\nOptions:\n{listed}Please select the correct answer from the options above. \n"


def write_table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Open questions, the last about two images; and the same with options."""
    directory = tmp_path_factory.mktemp("data")
    images = [image_of(entry) for entry in ENTRIES]
    shown = [*images[:3], str([images[3], images[0]])]
    questions = [
        {"index": number, "image_path": image, "question": entry["question"], "answer": "x"}
        for number, (image, entry) in enumerate(zip(shown, ENTRIES, strict=True))
    ]
    write_table(directory / "local_open.tsv", questions)
    write_table(directory / "local_choice.tsv", [row | CHOICES | {"answer": "A"} for row in questions[:2]])
    return directory


def run(data: Path, out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(out / "home"), "LMUData": str(data), "PRED_FORMAT": "tsv"}
    environment = {**os.environ, **offline, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    arguments = f"device=cpu,dtype=float32,budget=512,tokens={TOKENS}"
    command = [sys.executable, "-m", "scripts.eval_vlmeval", "--model-args", arguments, "--name", "here", "--"]
    command += ["--work-dir", str(out), "--judge", "exact_matching", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1800)


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Questions without options have no score there, so its run passes over one after asking all of it."""
    out = tmp_path_factory.mktemp("out")
    return run(data, out, "--data", "local_choice", "local_open", "no_such_data"), out / "here"


def predictions(directory: Path, name: str) -> list[str]:
    with (directory / f"here_{name}.tsv").open(newline="") as file:
        return [row["prediction"] for row in csv.DictReader(file, delimiter="\t")]


def test_every_answer_is_what_the_session_answers(
    finished: tuple[subprocess.CompletedProcess[str], Path], session: Session
) -> None:
    ended, out = finished
    assert out.exists(), ended.stdout[-3000:] + ended.stderr[-3000:]
    images = [image_of(entry) for entry in ENTRIES]
    questions = [entry["question"] for entry in ENTRIES]
    expected = [answer(session, [image], each) for image, each in zip(images[:3], questions, strict=False)]
    assert len(set(expected)) > 1
    brief = replace(DECODING, max_new_tokens=TOKENS)
    assert expected[0] == session.ask(images[0], questions[0], decoding=brief).text
    assert predictions(out, "local_open") == [*expected, answer(session, [images[3], images[0]], questions[3])]
    choices = [answer(session, [images[place]], choice_prompt(questions[place], CHOICES)) for place in range(2)]
    assert predictions(out, "local_choice") == choices


def test_the_run_scores_what_it_can_and_its_failures_are_told(
    finished: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    ended, out = finished
    status = json.loads((out / "status.json").read_text())["datasets"]
    assert status["local_choice"]["metrics"]
    assert ended.returncode == 1
    assert [line for line in ended.stderr.splitlines() if line.startswith("eval_vlmeval")] == [
        f"eval_vlmeval: error: VLMEvalKit has no result of {name}; its message stands above"
        for name in ("local_open", "no_such_data")
    ]


def test_conversations_and_what_is_no_image() -> None:
    """In a process of its own, as an import of VLMEvalKit changes the whole of it."""
    first, second = (image_of(entry) for entry in ENTRIES[:2])
    code = f"""
from llava.eval.vlmeval.model import LavidaVlm
from llava.inference.dialog import Turn, answer_dialogs, prepare_dialog
model = LavidaVlm(device="cpu", dtype="float32", budget=512, tokens={TOKENS})
def text(words): return dict(type="text", value=words)
def image(path): return dict(type="image", value=path)
say = lambda turns, **more: answer_dialogs(
    model.session, [prepare_dialog(model.session, turns, **more)], decoding=model.decoding)[0].text
pages = [model.session.encode(path) for path in ({first!r}, {second!r})]
told = [dict(role="user", content=[image({first!r}), text("What is it?")]),
        dict(role="assistant", content=[text("A page.")]), dict(role="user", content=[text("Count the stars.")])]
turns = [Turn(parts=(pages[0], "What is it?")), Turn(role="assistant", parts=("A page.",)),
         Turn(parts=("Count the stars.",))]
assert model.chat(told, dataset="here") == say(turns)
mixed = [text("Between"), image({first!r}), text("and"), image({second!r}), text("which has more stars?")]
assert model.generate(mixed) == say([Turn(parts=("Between", pages[0], "and", pages[1], "which has more stars?"))])
system = [dict(text("Be brief."), role="system"), image({first!r}), text("Count the stars.")]
assert model.generate(system) == say([Turn(parts=(pages[0], "Count the stars."))], system="Be brief.")
try:
    model.generate_inner([dict(type="video", value="film.mp4"), text("What is it?")], dataset="films")
except ValueError as error:
    assert "a question of films shows video content, but lavida reads text and images only" in str(error)
else:
    raise AssertionError("a film was watched")
print("all as said")
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=1800)
    assert ended.stdout.endswith("all as said\n"), ended.stderr[-3000:]


def test_certificates_are_still_verified() -> None:
    """VLMEvalKit switches that off for the whole process when it is imported."""
    code = """
import ssl
before = ssl._create_default_https_context
from llava.eval.harness.settings import HarnessSettings
from llava.eval.vlmeval.launch import run_vlmeval
try:
    run_vlmeval(HarnessSettings(), "here", ["--no-such-option"])
except SystemExit as error:
    assert error.code == 2
assert ssl._create_default_https_context is before
print("verified")
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=1800)
    assert ended.stdout.endswith("verified\n"), ended.stderr[-3000:]
