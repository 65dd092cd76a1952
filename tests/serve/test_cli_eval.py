"""``lavida eval``: what it prints and writes, and what it refuses."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from llava.eval.benchmarks.registry import BENCHMARKS
from llava.eval.methods import METHODS
from llava.inference.checkpoint import Checkpoint
from llava.model.builder import load_pretrained_model
from llava.serve.cli import main
from llava.tuning.adapter import save_adapter
from llava.tuning.config import TrainableConfig
from shirg.config import ShirgXConfig
from tests.adapter_helpers import train
from tests.cli_helpers import QUICK_SHIRG_X, Call, copy_checkpoint, edit_config

QUESTIONS = ["--benchmark", "entitygrid", "--style", "shapes", "--questions", "5", "--tokens", "4", "--device", "cpu"]
FILES = {"provenance.json", "records.jsonl", "settings.json", "summary.json", "variation.md"}

Refuse = Callable[..., str]


@pytest.fixture
def refuse(capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Run a command that must be refused; returns the one line it is refused with."""

    def run(*words: str | Path) -> str:
        code = main(["eval", *map(str, words)])
        out, err = capsys.readouterr()
        assert (code, out) == (2, "")
        (line,) = [line for line in err.splitlines() if not line.endswith("mean nothing")]
        return line.removeprefix("lavida: error: ")

    return run


def records_of(directory: Path) -> list[dict]:
    return [json.loads(line) for line in (directory / "records.jsonl").read_text().splitlines()]


def test_it_writes_records_and_a_summary_and_prints_a_table(call: Call, tmp_path: Path, quick: Path) -> None:
    out = tmp_path / "new" / "results"
    shown, err = call("eval", *QUESTIONS, "--out", out, "--budget", "48", "--batch-size", "3")
    assert err == ""
    assert {file.name for file in out.iterdir()} == FILES
    records = records_of(out)
    assert len(records) == 5
    assert set(records[0]) == {
        *("id", "page", "kind", "question", "golds", "answer"),
        *("scores", "detail_tokens", "total_tokens", "traits", "confidence", "answer_tokens", "forwards"),
        *("blank_share", "seconds"),
    }
    assert set(records[0]["scores"]) == {"token_f1", "exact_match"}
    assert (records[0]["detail_tokens"], records[0]["total_tokens"]) == (48, 57)
    assert min(records[0]["seconds"].values()) > 0
    summary = json.loads((out / "summary.json").read_text())
    settings = summary["settings"]
    assert settings == json.loads((out / "settings.json").read_text())
    assert (settings["benchmark"], settings["split"], settings["style"]) == ("entitygrid", "test", "shapes")
    assert (settings["method"], settings["budget"], settings["seed"]) == ("shirg_x", 48, 0)
    assert (settings["model"], settings["adapter"]) == (str(quick), None)
    assert settings["shirg_x"] == ShirgXConfig(**QUICK_SHIRG_X, budget=48, similarity="projected").to_dict()
    assert settings["decoding"]["max_new_tokens"] == 4
    assert (settings["decoding"]["threshold"], settings["decoding"]["prefix_lm"]) == (0.95, True)
    (source,) = summary["provenance"]
    assert {"from_question", "commit", "device", "torch", "batch_size"} <= set(source)
    assert summary["num_questions"] == 5
    mean = sum(record["scores"]["token_f1"] for record in records) / 5
    assert summary["scores"]["token_f1"]["mean"] == pytest.approx(mean)
    assert f"{mean:.3f} [" in shown
    for word in ("shirg_x", "48", "57", "token_f1", "exact_match", "all", *summary["kinds"], str(out)):
        assert word in shown.replace("\n", "")


def test_without_a_directory_results_go_to_one_named_after_what_was_asked(
    call: Call,
    refuse: Refuse,
    quick: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shown, err = call("eval", *QUESTIONS, "--method", "ink", "--budget", "48")
    assert err == "lavida: the results go to runs/entitygrid-ink; --out DIR puts them elsewhere\n"
    assert "the results are in runs/entitygrid-ink" in shown
    assert {file.name for file in (tmp_path / "runs" / "entitygrid-ink").iterdir()} == FILES
    words = ["eval", *QUESTIONS, "--method", "ink", "--budget", "32", "--model", str(quick)]
    assert main(words) == 2
    assert "runs/entitygrid-ink holds results of another setting" in capsys.readouterr().err
    assert "there is no benchmark '../x'" in refuse("--benchmark", "../x")


def test_several_budgets_write_a_directory_each_and_compare(
    call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call("eval", *QUESTIONS, "--out", tmp_path, "--budget", "32", "auto", "64")
    assert {path.name for path in tmp_path.iterdir()} == {"budget-32", "budget-auto", "budget-64"}
    assert [{r["detail_tokens"] for r in records_of(tmp_path / f"budget-{b}")} for b in ("32", "auto", "64")] == [
        {32},
        {64},  # a fresh budget head keeps the largest budget
        {64},
    ]
    assert main(["eval", "--compare", *(str(tmp_path / f"budget-{budget}") for budget in ("64", "auto", "32"))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| results | method | budget | tokens | token_f1 | difference | p | exact_match |")
    assert [line.count("|") for line in lines] == [11] * 5
    assert "| auto | 73 |" in lines[3]
    assert "+0.000 [+0.000, +0.000] | 1.0000" in lines[3]


def test_a_run_goes_on_where_it_was_killed(call: Call, tmp_path: Path) -> None:
    words = (*QUESTIONS, "--out", tmp_path, "--method", "scaffold_random", "--seed", "7", "--batch-size", "2")
    call("eval", *words)
    summary, records = (json.loads((tmp_path / "summary.json").read_text()), records_of(tmp_path))
    path = tmp_path / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    (tmp_path / "summary.json").unlink()
    call("eval", *words)
    resumed = json.loads((tmp_path / "summary.json").read_text())
    assert {**resumed, "seconds": None} == {**summary, "seconds": None}
    assert records_of(tmp_path)[:4] == records[:4]
    assert {**records_of(tmp_path)[4], "seconds": None} == {**records[4], "seconds": None}


def test_fewer_steps_and_a_threshold_are_settings_of_the_answers(call: Call, tmp_path: Path) -> None:
    answers = {}
    for name, words in (
        ("plain", []),
        ("steps", ["--decoding", "one-per-step", "--steps", "1"]),
        ("threshold", ["--threshold", "0.001"]),
    ):
        call("eval", *QUESTIONS, "--out", tmp_path / name, *words)
        answers[name] = [record["answer"] for record in records_of(tmp_path / name)]
    stored = {name: json.loads((tmp_path / name / "settings.json").read_text())["decoding"] for name in answers}
    assert [(stored[name]["steps"], stored[name]["threshold"]) for name in answers] == [
        (None, 0.95),
        (1, None),
        (None, 0.001),
    ]
    # All tokens are surer than that, so they are settled at once, as in a single step.
    assert answers["steps"] == answers["threshold"]


def test_forwards_are_recorded_and_summed_up(call: Call, tmp_path: Path) -> None:
    found = {}
    for way in ("fast", "exact", "one-per-step"):
        out, _ = call("eval", *QUESTIONS, "--out", tmp_path / way, "--decoding", way)
        records, summary = records_of(tmp_path / way), json.loads((tmp_path / way / "summary.json").read_text())
        forwards = [record["forwards"] for record in records]
        assert summary["forwards"] == sum(forwards) / 5
        assert summary["tokens_per_forward"] == sum(record["answer_tokens"] for record in records) / sum(forwards)
        assert f"{summary['forwards']:.2f} forwards an answer" in out
        found[way] = [record["answer"] for record in records], forwards
    assert found["exact"][0] == found["one-per-step"][0]
    assert all(few <= many for few, many in zip(found["exact"][1], found["one-per-step"][1], strict=True))


def test_help_names_every_benchmark_split_and_style(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["eval", "--help"])
    words = set(re.findall(r"[a-z_]+", capsys.readouterr().out))
    drawn = [benchmark for benchmark in BENCHMARKS.values() if benchmark.styles]
    names = {name for benchmark in drawn for name in (*benchmark.styles, *benchmark.splits)}
    assert names
    assert names | set(BENCHMARKS) | set(METHODS) <= words


@pytest.mark.parametrize("method", ["stock", "attention", "all_patches"])
def test_peers_and_lavida_are_methods(call: Call, tmp_path: Path, method: str) -> None:
    call("eval", *QUESTIONS, "--out", tmp_path, "--method", method)
    summary = json.loads((tmp_path / "summary.json").read_text())
    expected = {"stock": 406, "attention": 144, "all_patches": 144}
    if method == "attention":
        expected = {"attention": 64 + 9}
    assert summary["total_tokens"] == expected[method]
    assert (summary["settings"]["shirg_x"] is None) == (method == "stock")


def test_an_adapter_brings_its_settings(call: Call, quick: Path, tmp_path: Path) -> None:
    config = TrainableConfig(scope="projector")
    model = load_pretrained_model(quick, device_map="cpu")[1]
    train(model, config, None)
    save_adapter(model, tmp_path / "adapter", config)
    for name, more in (("plain", []), ("trained", ["--adapter", tmp_path / "adapter"])):
        call("eval", *QUESTIONS, "--out", tmp_path / name, "--budget", "48", *more)
    plain, trained = (json.loads((tmp_path / name / "settings.json").read_text()) for name in ("plain", "trained"))
    assert trained["adapter"] == str(tmp_path / "adapter")
    assert plain["weights"] != trained["weights"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--benchmark", "chartqb"], "there is no benchmark 'chartqb'; use one of entitygrid, chartpage, docpage"),
        (["--benchmark", "chartqa"], "chartqa is not drawn and has no style 'shapes'; leave the style out"),
        (["--data", "pages"], "entitygrid is drawn and reads no data; leave 'pages' out"),
        (["--split", "train"], "entitygrid has no split 'train'; use one of test, shifted, validation"),
        (["--style", "small"], "entitygrid has no style 'small'; use one of"),
        (["--method", "best"], "there is no method 'best'; use one of shirg_x, stock"),
        (["--questions", "0"], "--questions must be at least 1, got 0"),
        (["--batch-size", "0"], "--batch-size must be at least 1, got 0"),
        (["--seed", "-1"], "--seed must lie between 0 and"),
        (["--budget", "33"], "budget must be auto, question or one of 32, 48, 64, 128, got 33"),
        (["--budget", "many"], "argument --budget: invalid budget value: 'many'; see lavida eval --help"),
        (["--method", "stock", "--budget", "32"], "the method stock has a number of tokens of its own"),
        (["--method", "stock", "--config", "x.yaml"], "--config belongs to SHIRG-X"),
        (["--config", "nowhere.yaml"], "there is no file nowhere.yaml"),
        (["--tokens", "0"], "--tokens must be a positive whole number, got 0"),
        (["--tokens", "8", "--block-length", "3"], "--tokens=8 must be a multiple of --block-length=3"),
        (["--out", ""], "--out is empty; give a directory"),
        (["--threshold", "2"], "--threshold must lie between 0 and 1, got 2.0"),
        (["--steps", "2"], "--steps plans what --decoding fast leaves to the model's confidence"),
        (["--threshold", "0.9", "--decoding", "exact"], "--threshold belongs to --decoding fast, not exact"),
        (["--model", "no/such/model"], "no/such/model"),
        (["--compare", "a", "b"], "--compare reads finished results; leave out --benchmark and --out"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_named_before_a_model_is_loaded(
    refuse: Refuse, quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.setattr("llava.model.builder.load_pretrained_model", None)
    out = tmp_path / "out"
    line = refuse(*QUESTIONS, "--model", quick, "--out", out, *words)
    assert message in line
    assert not out.exists()


def test_the_style_is_the_one_that_the_checkpoint_was_trained_on(
    refuse: Refuse, quick: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [word for word in QUESTIONS if word not in ("--style", "shapes")]
    line = refuse(*asked, "--model", quick, "--out", tmp_path / "none")
    assert line.startswith(f"{quick} does not say which style of drawn pages it was trained on")
    assert "choose one with --style: shapes, " in line
    copy = copy_checkpoint(quick, tmp_path / "copy")
    edit_config(copy, page_style="large_print")
    for name, more in (("own", []), ("other", ["--style", "shapes"])):
        assert main(["eval", *asked, "--out", str(tmp_path / name), "--model", str(copy), *more]) == 0
    capsys.readouterr()
    styles = [json.loads((tmp_path / name / "settings.json").read_text())["style"] for name in ("own", "other")]
    assert styles == ["large_print", "shapes"]
    edit_config(copy, page_style="runes")
    assert "docpage has no style 'runes'" in refuse("--benchmark", "docpage", "--out", tmp_path / "no", "--model", copy)


def test_the_bundled_model_says_what_it_reads() -> None:
    assert Checkpoint.resolve().page_style == "typed_full"


def test_what_is_missing_is_named(refuse: Refuse, tmp_path: Path) -> None:
    assert refuse("--out", tmp_path).startswith("--benchmark is missing")
    (tmp_path / "file").write_text("")
    assert refuse(*QUESTIONS, "--out", tmp_path / "file").endswith("file is a file; give a directory")
    assert "give at least two" in refuse("--compare", tmp_path)
    assert "there is no directory" in refuse("--compare", tmp_path / "a", tmp_path / "b")


def test_results_of_other_questions_are_not_compared(call: Call, refuse: Refuse, tmp_path: Path) -> None:
    call("eval", *QUESTIONS, "--out", tmp_path / "test")
    call("eval", *QUESTIONS, "--out", tmp_path / "shifted", "--split", "shifted")
    assert "are not about the same questions" in refuse("--compare", tmp_path / "test", tmp_path / "shifted")


def test_results_of_another_setting_are_not_gone_on_with(
    call: Call, refuse: Refuse, quick: Path, tmp_path: Path
) -> None:
    call("eval", *QUESTIONS, "--out", tmp_path, "--budget", "32")
    before = (tmp_path / "records.jsonl").read_bytes()
    line = refuse(*QUESTIONS, "--model", quick, "--out", tmp_path, "--budget", "48")
    assert "holds results of another setting: budget is 32 there and 48 here" in line
    assert (tmp_path / "records.jsonl").read_bytes() == before


def test_settings_of_a_run_that_was_refused_bind_nobody(
    call: Call, refuse: Refuse, quick: Path, tmp_path: Path
) -> None:
    line = refuse(*QUESTIONS, "--model", quick, "--out", tmp_path, "--tokens", "9999")
    assert "questions could be asked; question entity_grid-shapes-test-0-0-0: prompt and images take " in line
    assert "the answer 9999, more than the" in line
    call("eval", *QUESTIONS, "--out", tmp_path)
    assert len(records_of(tmp_path)) == 5


def test_a_question_that_is_more_than_words_is_named(
    refuse: Refuse, quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = BENCHMARKS["entitygrid"].read
    for words, reason in (("What?<|eot_id|>", "holds the special token <|eot_id|>"), ("<image>", "holds <image>")):
        asked = replace(next(iter(read("test", "shapes", None))), question=words)
        changed = {"entitygrid": replace(BENCHMARKS["entitygrid"], read=lambda *_, asked=asked: [asked])}
        monkeypatch.setattr("llava.eval.benchmarks.registry.BENCHMARKS", changed)
        line = refuse(*QUESTIONS, "--model", quick, "--out", tmp_path)
        assert "question entity_grid-shapes-test-0-0-0: the " in line
        assert reason in line


def test_a_summary_that_says_nothing_is_named(call: Call, refuse: Refuse, tmp_path: Path) -> None:
    for name in "ab":
        call("eval", *QUESTIONS, "--out", tmp_path / name)
    (tmp_path / "b" / "summary.json").write_text("{}")
    line = refuse("--compare", tmp_path / "a", tmp_path / "b")
    assert "summary.json lacks scores, settings, total_tokens; let lavida eval write it anew" in line


def test_the_table_shows_what_is_judged_over_the_whole_set(call: Call, tmp_path: Path) -> None:
    shown, _ = call("eval", *QUESTIONS, "--benchmark", "chartpage", "--out", tmp_path)
    score = json.loads((tmp_path / "summary.json").read_text())["scores"]["cider"]
    assert f"cider, budget auto: {score['mean']:.3f}" in shown


def test_attention_of_the_last_layer_needs_what_lavida_leaves_out(
    call: Call, refuse: Refuse, quick: Path, tmp_path: Path
) -> None:
    directory = copy_checkpoint(quick, tmp_path / "copy")
    (weights,) = (file for file in directory.parent.rglob("*.safetensors") if directory not in file.parents)
    weights.unlink()
    settings = tmp_path / "attention.yaml"
    shirg_x = json.loads((directory / "config.json").read_text())["shirg_x"]
    settings.write_text(json.dumps({**shirg_x, "similarity": "attention"}))
    line = refuse(*QUESTIONS, "--model", directory, "--out", tmp_path / "out", "--config", settings)
    assert "keep_all_layers needs" in line
    # The peer reads a layer that every checkpoint has.
    call("eval", *QUESTIONS, "--model", directory, "--out", tmp_path / "peer", "--method", "attention")


def test_a_page_that_does_not_fit_the_context_is_named(refuse: Refuse, quick: Path, tmp_path: Path) -> None:
    directory = copy_checkpoint(quick, tmp_path / "copy")
    edit_config(directory, max_sequence_length=100)
    line = refuse(*QUESTIONS, "--model", directory, "--out", tmp_path / "out", "--method", "all_patches")
    assert "more than the 100 of this model" in line
