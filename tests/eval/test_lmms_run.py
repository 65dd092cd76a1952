"""lmms-eval itself runs the model on small local data; where lmms-eval is not installed, these tests are skipped."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llava.image_io import load_image
from llava.inference.checkpoint import BUNDLED_MODEL, Checkpoint
from llava.inference.decoding import DECODING
from llava.inference.dialog import Turn, answer_dialogs, prepare_dialog
from llava.inference.session import Session
from llava.metrics import METRICS
from llava.serve.demo import GALLERIES
from tests.lmms_helpers import (
    ARGUMENTS,
    ROOT,
    TOKENS,
    Finished,
    answers_of,
    environment,
    read_results,
    requests,
    run_lmms,
    write_task,
)

# It is looked for and not imported, since an import of it warns about its own dependencies.
pytestmark = [
    pytest.mark.skipif(find_spec("lmms_eval") is None, reason="lmms-eval is not installed"),
    pytest.mark.filterwarnings("default"),
]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question of the local data, and the answer that the model gives by itself."""

    image: Path
    question: str
    answer: str


@pytest.fixture(scope="module")
def chart_and_page_questions() -> tuple[list[Asked], list[Asked]]:
    entries = json.loads((GALLERIES["typed"] / "pages.json").read_text())
    checkpoint = Checkpoint.resolve(BUNDLED_MODEL, changes={"budget": 512})
    session = Session.open(checkpoint, device="cpu", dtype="float32")
    decoding = replace(DECODING, max_new_tokens=TOKENS)

    def ask(entry: dict[str, Any]) -> Asked:
        image = GALLERIES["typed"] / entry["image"]
        (answer,) = session.ask(load_image(image), [entry["question"]], decoding=decoding)
        return Asked(image=image, question=entry["question"], answer=answer.text)

    # Questions of unequal length in one batch, and a last batch that is not full.
    return [ask(entry) for entry in entries[:7]], [ask(entry) for entry in entries[3:7]]


def chart_rows(asked: Sequence[Asked]) -> list[dict[str, Any]]:
    """In the columns of ChartQA as lmms-eval reads it; every other answer is what the model says."""
    return [
        {
            "type": "human_test" if number < 3 else "augmented_test",
            "question": each.question,
            "answer": each.answer.upper() if number % 2 == 0 else "something else",
            "image": str(each.image),
        }
        for number, each in enumerate(asked)
    ]


def page_rows(asked: Sequence[Asked]) -> list[dict[str, Any]]:
    """In the columns of DocVQA as lmms-eval reads it; answers are right, nearly right and wrong by turns."""
    golds = [lambda text: text, lambda text: f"{text}x", lambda text: "something else entirely"]
    return [
        {
            "questionId": str(number),
            "question": each.question,
            "question_types": ["layout"],
            "docId": number,
            "ucsf_document_id": "x",
            "ucsf_document_page_no": "1",
            "answers": ["quite another", golds[number % 3](each.answer)],
            "image": str(each.image),
        }
        for number, each in enumerate(asked)
    ]


@pytest.fixture(scope="module")
def tasks(chart_and_page_questions: tuple[list[Asked], list[Asked]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    charts, pages = chart_and_page_questions
    directory = tmp_path_factory.mktemp("tasks") / "local"
    write_task(directory, "local_charts", "chartqa/chartqa.yaml", "test", chart_rows(charts))
    write_task(directory, "local_pages", "docvqa/docvqa_val.yaml", "validation", page_rows(pages))
    return directory


@pytest.fixture(scope="module")
def finished(tasks: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    out = tmp_path_factory.mktemp("out")
    return run_lmms(tasks, out, "--tasks", "local_charts,local_pages")


def test_every_answer_is_what_the_session_answers(
    finished: Finished, chart_and_page_questions: tuple[list[Asked], list[Asked]]
) -> None:
    charts, pages = chart_and_page_questions
    assert len({each.answer for each in charts + pages}) > 3
    assert answers_of(finished.samples["local_charts"]) == [each.answer for each in charts]
    assert answers_of(finished.samples["local_pages"]) == [each.answer for each in pages]


def test_the_simple_class_answers_the_same(tasks: Path, tmp_path: Path, finished: Finished) -> None:
    simple = run_lmms(tasks, tmp_path, "--tasks", "local_charts,local_pages", "--force_simple")
    for task in ("local_charts", "local_pages"):
        assert answers_of(simple.samples[task]) == answers_of(finished.samples[task])
    assert simple.scores["local_pages"]["anls,none"] == finished.scores["local_pages"]["anls,none"]


def test_tokens_and_forwards_are_told(finished: Finished) -> None:
    for samples in finished.samples.values():
        counts = [each["token_counts"][0] for each in samples]
        assert all(1 <= each["output_tokens"] <= TOKENS for each in counts)
        # The image's tokens count: the scaffold's and the details'.
        assert all(each["input_tokens"] > 512 + 144 for each in counts)
    told = sum(each["token_counts"][0]["output_tokens"] for all in finished.samples.values() for each in all)
    assert finished.throughput["total_gen_tokens"] == told
    assert finished.throughput["avg_forwards"] >= 1
    assert finished.throughput["avg_tokens_per_forward"] > 0
    assert finished.throughput["avg_latency"] == pytest.approx(finished.throughput["total_elapsed_time"] / 11)


def test_the_metrics_are_those_of_these_answers(
    finished: Finished, chart_and_page_questions: tuple[list[Asked], list[Asked]]
) -> None:
    charts, pages = chart_and_page_questions
    scores = finished.scores["local_charts"]
    rows = zip(charts, chart_rows(charts), strict=True)
    relaxed = [METRICS["relaxed_accuracy"](each.answer, (row["answer"],)) for each, row in rows]
    assert relaxed == [1, 0, 1, 0, 1, 0, 1]
    assert scores["relaxed_overall,none"] == pytest.approx(4 / 7)
    assert scores["relaxed_human_split,none"] == pytest.approx(2 / 3)
    assert scores["relaxed_augmented_split,none"] == pytest.approx(2 / 4)
    rows = zip(pages, page_rows(pages), strict=True)
    similarity = [METRICS["anls"](each.answer, tuple(row["answers"])) for each, row in rows]
    assert 0 < similarity[1] < 1
    assert (similarity[0], similarity[2]) == (1, 0)
    assert finished.scores["local_pages"]["anls,none"] == pytest.approx(sum(similarity) / 4)


def test_two_processes_answer_the_same(
    tasks: Path, tmp_path: Path, chart_and_page_questions: tuple[list[Asked], list[Asked]]
) -> None:
    finished = run_lmms(tasks, tmp_path, "--tasks", "local_charts", processes=2)
    assert answers_of(finished.samples["local_charts"]) == [each.answer for each in chart_and_page_questions[0]]
    assert finished.scores["local_charts"]["relaxed_overall,none"] == pytest.approx(4 / 7)


def run_script(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    options = ["--cpu", "--budget", "512", "--tokens", str(TOKENS), "--out", str(out)]
    command = ["bash", "scripts/eval_chartqa.sh", *options, *words]
    return subprocess.run(
        command, cwd=ROOT, env=environment(out / "home"), capture_output=True, text=True, timeout=1800
    )


def test_the_script_runs_a_task_and_limits_it(tasks: Path, tmp_path: Path) -> None:
    # Of two --tasks lmms-eval takes the last, so local data stand in for the hub's.
    local = ["--", "--tasks", "local_charts", "--include_path", str(tasks)]
    run = run_script(tmp_path, "--batch-size", "2", "--limit", "4", *local)
    assert run.returncode == 0, run.stderr[-3000:]
    finished = read_results(tmp_path)
    assert len(finished.samples["local_charts"]) == 4
    assert finished.config["model_args"] == "tokens=8,budget=512,device=cpu"
    assert (finished.config["batch_size"], finished.config["limit"]) == ("2", 4)


def test_the_script_fails_when_lmms_eval_does(tasks: Path, tmp_path: Path) -> None:
    run = run_script(tmp_path, "--", "--tasks", "no_such_task", "--include_path", str(tasks))
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == "eval_chartqa: error: lmms-eval wrote no result; its message stands above"


@pytest.fixture(scope="module")
def model() -> Any:
    from lmms_eval.models import get_model

    return get_model("lavida", force_simple=True).create_from_arg_string(
        "device=cpu,dtype=float32,budget=512,batch_size=4,seed=5",
        {"batch_size": "1", "max_batch_size": None, "device": None},
    )


def texts(model: Any, asked: Sequence[tuple[str, dict[str, Any], Any]]) -> list[str]:
    return [each.text for each in model.generate_until(requests(model, asked))]


@pytest.fixture(scope="module")
def grid() -> Image.Image:
    return load_image(GALLERIES["typed"] / "entity_grid_1.png")


def test_the_installed_package_names_the_model() -> None:
    from lmms_eval.api.model import lmms
    from lmms_eval.models import get_model, list_available_models

    (entry,) = entry_points(group="lmms_eval.models", name="lavida")
    assert entry.load()().model_id == "lavida"
    assert "lavida" in list_available_models()
    for simple in (True, False):
        named = get_model("lavida", force_simple=simple)
        assert issubclass(named, lmms)
        assert named.is_simple == simple


def test_the_models_arguments_count_before_the_options(model: Any) -> None:
    assert (model.settings.batch_size, model.settings.seed, str(model.device)) == (4, 5, "cpu")
    assert (model.rank, model.world_size) == (0, 1)
    with pytest.raises(ValueError, match="max_batch_size"):
        type(model).create_from_arg_string("", {"max_batch_size": 4})


def test_answers_keep_their_order_when_tasks_want_different_lengths(model: Any, grid: Image.Image) -> None:
    questions = [
        "Which figure is in row 2, column A?",
        "In which row is the yellow square?",
        "Where is the red hexagon?",
    ]
    wanted = [(each, {"max_new_tokens": 8 + place // 2 % 2 * 8}, [grid]) for place, each in enumerate(questions * 2)]
    decodings = [replace(DECODING, **settings) for _, settings, _ in wanted]
    asked = zip(wanted, decodings, strict=True)
    expected = [model.session.ask(grid, [each[0]], decoding=decoding)[0].text for each, decoding in asked]
    assert len(set(expected)) > 2
    assert texts(model, wanted) == expected


def test_neighbors_that_are_denoised_alike_share_a_batch(
    model: Any, grid: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llava.eval.lmms.model import LavidaSimple

    def denoisings(model: Any, lengths: Sequence[int]) -> list[tuple[int, int, set[int]]]:
        """(questions, answer positions, prompt positions) of every denoising."""
        seen = []
        network = model.session.model
        original = network.denoise

        def denoise(prepared: Any, decoding: Any, **settings: Any) -> Any:
            seen.append((len(prepared.lengths), decoding.max_new_tokens, set(prepared.lengths)))
            return original(prepared, decoding, **settings)

        monkeypatch.setattr(network, "denoise", denoise)
        model.generate_until(requests(model, [(question, {"max_new_tokens": length}, [grid]) for length in lengths]))
        return seen

    question = "Count the stars."
    positions = {len(model.session.prompt(question)[0]) - 1 + 512 + 144}
    expected = [(4, 8, positions), (2, 8, positions), (1, 16, positions), (1, 8, positions)]
    assert denoisings(model, [8] * 6 + [16, 8]) == expected
    # A length of the model's own makes all alike.
    assert denoisings(LavidaSimple(**ARGUMENTS), [16, 16, 32, 4]) == [(3, TOKENS, positions), (1, TOKENS, positions)]


def test_an_answer_ends_before_until(model: Any, grid: Image.Image) -> None:
    question = "At which row and column is the red hexagon?"
    (answer,) = texts(model, [(question, {"max_new_tokens": 16}, [grid])])
    assert " " in answer
    cut = texts(model, [(question, {"max_new_tokens": 16, "until": [" "]}, [grid])])
    assert cut == [answer.split()[0]]


def test_what_is_drawn_depends_on_the_seed_and_the_repeat_and_not_on_the_batch(model: Any, grid: Image.Image) -> None:
    question = "At which row and column is the red hexagon?"
    settings = {"max_new_tokens": 16, "temperature": 4.0}
    answers = [each.text for each in model.generate_until(requests(model, [(question, settings, [grid])]) * 3)]
    decoding = replace(DECODING, max_new_tokens=16, temperature=4.0)
    alone = [model.session.ask(grid, [question], decoding=decoding, seed=seed)[0].text for seed in (5, 6, 7)]
    assert answers == alone
    assert len(set(answers)) > 1


def test_a_request_may_show_no_image_or_several(model: Any, grid: Image.Image) -> None:
    question = "Count the stars."
    page = model.session.encode(grid)
    for number in (0, 2):
        dialog = prepare_dialog(model.session, [Turn(parts=(*[page] * number, question))])
        (expected,) = answer_dialogs(model.session, [dialog], decoding=replace(DECODING, max_new_tokens=4))
        assert texts(model, [(question, {"max_new_tokens": 4}, [grid] * number)]) == [expected.text]


def test_a_film_is_refused(model: Any) -> None:
    with pytest.raises(ValueError, match=r"document 0 of t \(test\) shows video content"):
        texts(model, [("What is it?", {}, ["film.mp4"])])


def test_settings_without_effect_are_told_once(model: Any, grid: Image.Image, caplog: pytest.LogCaptureFixture) -> None:
    settings = {"max_new_tokens": 2, "num_beams": 4, "top_p": 1.0}
    model.generate_until(requests(model, [("Count the stars.", settings, [grid])] * 2))
    assert [record.message for record in caplog.records if "no effect" in record.message] == [
        "the task's generation setting num_beams=4 has no effect on this model"
    ]


def test_what_it_does_not_provide_says_why(model: Any) -> None:
    with pytest.raises(NotImplementedError, match=r"log-likelihoods.*generate_until, such as chartqa"):
        model.loglikelihood([])
    with pytest.raises(NotImplementedError, match="leave --force_simple out"):
        model.generate_until_multi_round([])


def test_a_cleaned_model_has_let_go_of_its_weights(grid: Image.Image) -> None:
    from llava.eval.lmms.model import LavidaSimple

    model = LavidaSimple(**ARGUMENTS)
    model.clean()
    assert model.session is None
    with pytest.raises(ValueError, match="create it anew"):
        model.generate_until(requests(model, [("Count the stars.", {}, [grid])]))
