"""lmms-eval itself runs the model on small local data; where lmms-eval is not installed, these tests are skipped."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from llava.image_io import load_image
from llava.inference.checkpoint import BUNDLED_MODEL, Checkpoint
from llava.inference.decoding import DECODING
from llava.inference.session import Session
from llava.metrics import METRICS
from llava.serve.demo import GALLERIES
from tests.train_helpers import free_port

# It is looked for and not imported, since an import of it warns about its own dependencies.
pytestmark = [
    pytest.mark.skipif(find_spec("lmms_eval") is None, reason="lmms-eval is not installed"),
    pytest.mark.filterwarnings("default"),
]

ROOT = Path(__file__).parent.parent.parent
TOKENS = 8
BATCH = 3
ARGUMENTS = {"device": "cpu", "dtype": "float32", "budget": 512, "tokens": TOKENS, "batch_size": BATCH}


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


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    from datasets import Dataset
    from datasets import Image as ImageColumn

    Dataset.from_list(list(rows)).cast_column("image", ImageColumn()).to_parquet(path)


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


def write_task(directory: Path, name: str, original: str, split: str, rows: Sequence[dict[str, Any]]) -> None:
    """lmms-eval's own task with other data, and without its instruction, to which the bundled model has no answer."""
    directory.mkdir(exist_ok=True)
    write_rows(directory / f"{name}.parquet", rows)
    spec = find_spec("lmms_eval")
    assert spec is not None
    assert spec.origin is not None
    task = {
        "include": str(Path(spec.origin).parent / "tasks" / original),
        "task": name,
        "lmms_eval_specific_kwargs": {"default": {"pre_prompt": "", "post_prompt": ""}},
        "dataset_path": "parquet",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {split: str(directory / f"{name}.parquet")}},
    }
    (directory / f"{name}.yaml").write_text(yaml.safe_dump(task))


def environment(home: Path) -> dict[str, str]:
    """No network, no GPU, and no cache but an empty one."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(home)}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {
        **os.environ,
        **offline,
        "PATH": path,
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "ACCELERATE_USE_CPU": "true",
    }


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What lmms-eval wrote."""

    scores: dict[str, Any]
    samples: dict[str, list[dict[str, Any]]]
    config: dict[str, Any]


def read_results(out: Path) -> Finished:
    (file,) = out.rglob("*_results.json")
    results = json.loads(file.read_text())
    samples = {
        task: [json.loads(line) for line in file.read_text().splitlines()]
        for file in out.rglob("*_samples_*.jsonl")
        for task in [file.stem.split("_samples_")[1]]
    }
    return Finished(scores=results["results"], samples=samples, config=results["config"])


@pytest.fixture(scope="module")
def tasks(chart_and_page_questions: tuple[list[Asked], list[Asked]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    charts, pages = chart_and_page_questions
    directory = tmp_path_factory.mktemp("tasks") / "local"
    write_task(directory, "local_charts", "chartqa/chartqa.yaml", "test", chart_rows(charts))
    write_task(directory, "local_pages", "docvqa/docvqa_val.yaml", "validation", page_rows(pages))
    return directory


def run_lmms(directory: Path, out: Path, *words: str, processes: int = 1) -> Finished:
    arguments = ",".join(f"{name}={value}" for name, value in ARGUMENTS.items())
    start = [sys.executable, "-m"]
    if processes > 1:
        # accelerate launch --cpu would start one process only, however many are asked for.
        start += ["torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", str(free_port()), "-m"]
    command = [*start, "lmms_eval", "--model", "lavida", "--model_args", arguments, "--log_samples"]
    command += ["--include_path", str(directory), "--output_path", str(out), "--verbosity", "DEBUG", *words]
    run = subprocess.run(command, cwd=ROOT, env=environment(out / "home"), capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    started = {int(rank) for rank in re.findall(r"Running on rank (\d+)", run.stdout)}
    assert started == set(range(processes))
    return read_results(out)


@pytest.fixture(scope="module")
def finished(tasks: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    out = tmp_path_factory.mktemp("out")
    return run_lmms(tasks, out, "--tasks", "local_charts,local_pages")


def answers_of(samples: Sequence[dict[str, Any]]) -> list[str]:
    return [each["filtered_resps"] for each in sorted(samples, key=lambda each: each["doc_id"])]


def test_every_answer_is_what_the_session_answers(
    finished: Finished, chart_and_page_questions: tuple[list[Asked], list[Asked]]
) -> None:
    charts, pages = chart_and_page_questions
    assert len({each.answer for each in charts + pages}) > 3
    assert answers_of(finished.samples["local_charts"]) == [each.answer for each in charts]
    assert answers_of(finished.samples["local_pages"]) == [each.answer for each in pages]


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
    return subprocess.run(command, cwd=ROOT, env=environment(out / "home"), capture_output=True, text=True, timeout=600)


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

    return get_model("lavida").create_from_arg_string(
        "device=cpu,dtype=float32,budget=512,batch_size=4,seed=5",
        {"batch_size": "1", "max_batch_size": None, "device": None},
    )


def requests(model: Any, asked: Sequence[tuple[str, dict[str, Any], Any]]) -> list[Any]:
    """Requests as lmms-eval makes them, of (question, generation settings, pictures)."""
    from lmms_eval.api.instance import Instance

    model.task_dict["t"] = {"test": [visuals for _, _, visuals in asked]}
    return [
        Instance(
            request_type="generate_until",
            arguments=(question, generation, lambda document: document, number, "t", "test"),
            idx=0,
            metadata={"task": "t", "doc_id": number, "repeats": 1},
        )
        for number, (question, generation, _) in enumerate(asked)
    ]


@pytest.fixture(scope="module")
def grid() -> Image.Image:
    return load_image(GALLERIES["typed"] / "entity_grid_1.png")


def test_the_installed_package_names_the_model() -> None:
    from lmms_eval.api.model import lmms
    from lmms_eval.models import get_model, list_available_models

    (entry,) = entry_points(group="lmms_eval.models", name="lavida")
    assert entry.load()().model_id == "lavida"
    assert "lavida" in list_available_models()
    assert issubclass(get_model("lavida"), lmms)


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
    assert model.generate_until(requests(model, wanted)) == expected


def test_neighbors_that_are_denoised_alike_share_a_batch(
    model: Any, grid: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llava.eval.lmms.model import LavidaLmms

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
    assert denoisings(LavidaLmms(**ARGUMENTS), [16, 16, 32, 4]) == [(3, TOKENS, positions), (1, TOKENS, positions)]


def test_an_answer_ends_before_until(model: Any, grid: Image.Image) -> None:
    question = "At which row and column is the red hexagon?"
    (answer,) = model.generate_until(requests(model, [(question, {"max_new_tokens": 16}, [grid])]))
    assert " " in answer
    cut = model.generate_until(requests(model, [(question, {"max_new_tokens": 16, "until": [" "]}, [grid])]))
    assert cut == [answer.split()[0]]


def test_what_is_drawn_depends_on_the_seed_and_the_repeat_and_not_on_the_batch(model: Any, grid: Image.Image) -> None:
    question = "At which row and column is the red hexagon?"
    settings = {"max_new_tokens": 16, "temperature": 4.0}
    answers = model.generate_until(requests(model, [(question, settings, [grid])]) * 3)
    decoding = replace(DECODING, max_new_tokens=16, temperature=4.0)
    alone = [model.session.ask(grid, [question], decoding=decoding, seed=seed)[0].text for seed in (5, 6, 7)]
    assert answers == alone
    assert len(set(answers)) > 1


@pytest.mark.parametrize(("number", "word"), [(0, "no"), (2, "2")])
def test_a_request_needs_one_image(model: Any, grid: Image.Image, number: int, word: str) -> None:
    with pytest.raises(ValueError, match=rf"document 0 of t \(test\) shows {word} images.* exactly one"):
        model.generate_until(requests(model, [("What is it?", {}, [grid] * number)]))


def test_settings_without_effect_are_told_once(model: Any, grid: Image.Image, caplog: pytest.LogCaptureFixture) -> None:
    settings = {"max_new_tokens": 2, "num_beams": 4, "top_p": 1.0}
    model.generate_until(requests(model, [("Count the stars.", settings, [grid])] * 2))
    assert [record.message for record in caplog.records if "no effect" in record.message] == [
        "the task's generation setting num_beams=4 has no effect on this model"
    ]


def test_what_it_does_not_provide_says_why(model: Any) -> None:
    with pytest.raises(NotImplementedError, match=r"log-likelihoods.*generate_until, such as chartqa"):
        model.loglikelihood([])
    with pytest.raises(NotImplementedError, match="no conversation"):
        model.generate_until_multi_round([])


def test_a_cleaned_model_has_let_go_of_its_weights(grid: Image.Image) -> None:
    from llava.eval.lmms.model import LavidaLmms

    model = LavidaLmms(**ARGUMENTS)
    model.clean()
    assert model.session is None
    with pytest.raises(ValueError, match="create it anew"):
        model.generate_until(requests(model, [("Count the stars.", {}, [grid])]))
