"""Comparisons of many rows: what is run and what is read again, what a row's score is, and what is refused."""

import gc
import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from llava.eval import ablation
from llava.eval.ablation import run_rows
from llava.eval.ablation_config import AblationConfig
from llava.eval.comparison import markdown_tables, summarize_cells
from llava.eval.encoder import PageEncoder
from llava.eval.evidence import EVIDENCE_FILE, EvidenceRecord
from llava.eval.plots import AXES, plot_rows
from llava.eval.report import read_report, render
from llava.inference.checkpoint import BUNDLED_MODEL
from llava.tuning.adapter import SETTINGS_FILE
from scripts.ablate import main
from tests.adapter_helpers import logits
from tests.train_helpers import ROOT, write_config

ROWS = [
    {"name": "SHIRG-X", "trained": True},
    {"name": "random", "method": "scaffold_random", "seeds": [0, 3]},
    {"name": "everything", "method": "all_patches"},
    {"name": "no merging", "settings": {"merge": False}, "budgets": [48, "auto"]},
]


@pytest.fixture(scope="module")
def values(quick: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {
        "out": str(tmp_path_factory.mktemp("ablation")),
        "model": str(quick),
        "benchmarks": [{"name": "entitygrid", "style": "shapes", "split": "validation", "questions": 9}],
        "budgets": [32, 48],
        "tokens": 5,
        "rows": ROWS,
        "device": "cpu",
    }


@pytest.fixture(scope="module")
def cells(values: dict[str, Any]) -> list[ablation.Cell]:
    return run_rows(AblationConfig.from_dict(values))


def test_every_row_is_answered_at_its_budgets_with_its_seeds(cells: list[ablation.Cell]) -> None:
    assert [(cell.row.name, cell.budget, len(cell.records)) for cell in cells] == [
        ("SHIRG-X", 32, 1),
        ("SHIRG-X", 48, 1),
        ("random", 32, 2),
        ("random", 48, 2),
        ("everything", None, 1),
        ("no merging", 48, 1),
        ("no merging", "auto", 1),
    ]
    assert {len(records) for cell in cells for records in cell.records} == {9}
    assert [cell.tokens for cell in cells] == [41, 57, 41, 57, 144, 57, pytest.approx(57, abs=16)]
    assert all(record.survives for record in cells[4].evidence[0])
    random = cells[2]
    for place, score in enumerate(random.scores("token_f1")):
        assert score == np.mean([records[place].scores["token_f1"] for records in random.records])


def test_each_seed_draws_anew(values: dict[str, Any], cells: list[ablation.Cell]) -> None:
    del cells  # they are what fills the directory
    random = Path(values["out"], "entitygrid-shapes-validation", "random")
    seeds = {path.parts[-3]: json.loads(path.read_text())["seed"] for path in random.glob("*/*/settings.json")}
    assert seeds == {"seed-0": 0, "seed-3": 3}


def test_evidence_that_was_measured_is_read(
    values: dict[str, Any], cells: list[ablation.Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def measure(encoder: Any, samples: Any, budgets: Any) -> dict[Any, list[EvidenceRecord]]:
        measured.append((encoder.method.name, *budgets))
        return {budget: [] for budget in budgets}

    monkeypatch.setattr(ablation, "evidence_recall", measure)
    config = AblationConfig.from_dict(values)
    again = run_rows(config)
    assert [cell.evidence for cell in again] == [cell.evidence for cell in cells]
    assert not measured
    kept = Path(values["out"], "entitygrid-shapes-validation", "SHIRG-X", "seed-0", "budget-48", EVIDENCE_FILE)
    text = kept.read_text()
    try:
        kept.write_text(text.replace('"questions": [', '"questions": ["another", ', 1))
        run_rows(config)
        assert measured == [("shirg_x", 48)]
        kept.write_text("{")
        with pytest.raises(ValueError, match=r"evidence\.json is broken"):
            run_rows(config)
    finally:
        kept.write_text(text)


def test_rows_that_were_answered_are_read(values, cells, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llava.eval.evaluate._answer_batch", None)
    again = run_rows(AblationConfig.from_dict(values))
    assert [cell.records for cell in again] == [cell.records for cell in cells]


def test_one_row_s_model_is_gone_before_the_next_one_s_is_loaded(values, cells, monkeypatch) -> None:
    del cells  # they are what fills the directory
    loaded, alive = [], []
    load = ablation.Session.open

    def watch(*args: Any, **settings: Any) -> ablation.Session:
        gc.collect()
        alive.append(sum(model() is not None for model in loaded))
        session = load(*args, **settings)
        loaded.append(weakref.ref(session.model))
        return session

    monkeypatch.setattr("llava.eval.ablation.Session.open", watch)
    run_rows(AblationConfig.from_dict(values))
    assert alive == [0] * len(ROWS)


def test_differences_are_from_the_first_row_at_the_same_budget(cells: list[ablation.Cell]) -> None:
    summaries = summarize_cells(cells)
    assert all("difference" not in score for each in summaries[:2] for score in each["metrics"].values())
    for number, first in ((2, 0), (3, 1), (4, 0), (5, 1)):
        gap = summaries[number]["metrics"]["exact_match"]["difference"]
        expected = cells[number].scores("exact_match").mean() - cells[first].scores("exact_match").mean()
        assert gap["mean"] == pytest.approx(expected)
        assert gap["low"] <= gap["mean"] <= gap["high"]
        assert 0 < gap["p"] <= 1
    assert json.loads(json.dumps(summaries)) == summaries


def test_a_table_says_what_was_trained_and_a_plot_is_drawn(cells: list[ablation.Cell], tmp_path: Path) -> None:
    summaries = summarize_cells(cells)
    table = markdown_tables(summaries).splitlines()
    assert table[0].startswith("**entitygrid-shapes-validation** (9 questions on ")
    assert table[2].count("|") == table[3].count("|") == table[4].count("|")
    assert table[4].startswith("| SHIRG-X | 32 | 41 |")
    assert table[6].startswith("| random (inference only) | 32 |")
    assert table[4 + len(cells)] == ""
    assert table[5 + len(cells)].startswith("Rank correlation with token_f1 over these lines: ")
    for axis in AXES:
        plot_rows(summaries, "entitygrid-shapes-validation", axis, tmp_path / f"{axis}.png")
        with Image.open(tmp_path / f"{axis}.png") as picture:
            assert picture.width > 500


@pytest.fixture(scope="module")
def paced(values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> AblationConfig:
    """Rows that differ in nothing but how answers are denoised."""
    rows = [
        {"name": "slow", "decoding": "one-per-step"},
        {"name": "drafted", "decoding": "exact"},
        {"name": "at once", "decoding": "one-per-step", "denoising": {"steps": 1}},
    ]
    out = str(tmp_path_factory.mktemp("paced"))
    benchmarks = [{**values["benchmarks"][0], "questions": 5}]
    changes = {"out": out, "rows": rows, "benchmarks": benchmarks, "budgets": [32], "evidence": False, "batch_size": 1}
    return AblationConfig.from_dict({**values, **changes})


def test_rows_that_differ_in_denoising_alone_share_every_encoding(
    paced: AblationConfig, tower_calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, choose = [], PageEncoder.choose
    monkeypatch.setattr(PageEncoder, "choose", lambda *given: chosen.append(given[2]) or choose(*given))
    cells = run_rows(paced)
    pages = len(set(cells[0].pages))
    assert (tower_calls.count("extract_shirg_x_tokens"), len(chosen)) == (pages, 5)
    assert [cell.row.name for cell in cells] == ["slow", "drafted", "at once"]
    slow, drafted, at_once = summarize_cells(cells)
    assert (slow["same_text"], slow["time_ratio"]) == (1.0, 1.0)
    assert (drafted["same_text"], at_once["forwards"]) == (1.0, 1.0)
    assert 1 < drafted["forwards"] < slow["forwards"] <= 5
    assert at_once["tokens_per_forward"] == np.mean([record.answer_tokens for record in cells[2].records[0]])
    assert not cells[0].evidence


def test_the_page_about_denoising_has_the_cost_of_every_row(
    paced: AblationConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(write_config(tmp_path, paced.to_dict()))]) == 0
    lines = (Path(paced.out) / "results.md").read_text().splitlines()
    heading = lines.index(
        next(line for line in lines if line.startswith("| denoising, entitygrid-shapes-validation |"))
    )
    assert lines[heading].startswith("| denoising, entitygrid-shapes-validation | forwards | tokens a forward | same")
    names = [line.split(" | ")[0] for line in lines[heading + 2 : heading + 5]]
    assert names == ["| slow", "| drafted", "| at once"]
    assert " | 100.0% | 1.00 | " in lines[heading + 2]


def test_the_script_writes_tables_and_plots(values, cells, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path, {**values, "rows": ROWS[:1]})
    assert main([str(config), "--set", "budgets=[48]"]) == 0
    out = Path(values["out"])
    page, record = (out / "results.md").read_text(), read_report(out)
    assert capsys.readouterr().out.strip() in page
    assert "\n| exact match, entitygrid-shapes-validation, K = | 48 |" in page
    assert render(record) == page
    assert record["command"] == f"python -m scripts.ablate {config} --set 'budgets=[48]'"
    assert [cell["budget"] for cell in record["cells"]] == [48]
    assert {"commit", "device"} <= set(record["made_by"])
    assert [run["from_question"] for cell in record["cells"] for run in cell["provenance"]] == [1]
    assert {file.name for file in out.glob("*.png")} == {f"entitygrid-shapes-validation-{axis}.png" for axis in AXES}


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs" / "results").glob("*/settings.yaml")), ids=lambda path: path.parent.name
)
def test_committed_comparisons_can_be_run(path: Path) -> None:
    """Their rows fit the model, so that no mistake waits behind the first row; one yet to train is like the bundled."""
    config = AblationConfig.from_yaml(path)
    assert AblationConfig.from_dict(config.to_dict()) == config
    if config.model.startswith("runs/"):
        config = config.replace(model=str(BUNDLED_MODEL))
    rows = [
        row.replace(**{name: None for name in ("model", "adapter") if (getattr(row, name) or "").startswith("runs/")})
        for row in config.rows
    ]
    methods = [ablation.resolve_row(config, row)[1] for row in rows]
    assert methods[0].name == "shirg_x"


def test_a_row_s_settings_come_on_top_of_all_rows_settings(values: dict[str, Any]) -> None:
    rows = [{"name": "a"}, {"name": "b", "settings": {"merge": True, "budgets": [7, 13, 29]}, "budgets": [13]}]
    config = AblationConfig.from_dict(
        {**values, "rows": rows, "budgets": [5], "settings": {"merge": False, "budgets": [3, 5, 11]}}
    )
    methods = [ablation.resolve_row(config, row)[1] for row in config.rows]
    assert [(method.settings.merge, method.settings.budgets, method.budgets) for method in methods] == [
        (False, (3, 5, 11), (5,)),
        (True, (7, 13, 29), (13,)),
    ]


class _Asked(Exception):
    pass


def test_a_row_loads_its_adapter_with_the_settings_it_was_trained_with_and_answers_in_so_many_tokens(
    values: dict[str, Any],
    tiny_checkpoint: Path,
    expanded: tuple[Path, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    told: list[Any] = []

    def asked(_: Any, encoder: Any, runs: Any, **options: Any) -> None:
        told.extend([encoder, runs[0].decoding])
        raise _Asked

    monkeypatch.setattr(ablation, "evaluate", asked)
    directory, expected = expanded
    trained = json.loads((directory / SETTINGS_FILE).read_text())["shirg_x"]
    budgets = [trained["budgets"][0]]
    row = {"name": "trained", "adapter": str(directory), "budgets": budgets}
    changes = {"out": str(tmp_path), "model": str(tiny_checkpoint), "rows": [row], "tokens": 7}
    with pytest.raises(_Asked):
        run_rows(AblationConfig.from_dict({**values, **changes}))
    encoder, decoding = told
    assert decoding.max_new_tokens == 7
    handle = encoder.session.handle
    assert handle.config.similarity == trained["similarity"] == "learned"
    assert list(handle.config.budgets) == trained["budgets"]
    session = encoder.session
    found = logits((session.tokenizer, session.model, session.image_processor, 0), session.model)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": []}, "rows must be a list of at least one"),
        ({"rows": [{"name": "a"}, {"name": "a"}]}, "each row needs a name of its own, got 'a' twice"),
        ({"rows": [{"name": "../a"}]}, "rows, entry 1: a row's name must be a plain text"),
        ({"rows": [{"name": "a", "sedes": [1]}]}, "rows, entry 1: unknown setting 'sedes'; did you mean 'seeds'"),
        ({"rows": [{"name": "a", "seeds": 3}]}, "seeds of row 'a' must be a list"),
        ({"rows": [{"name": "a", "seeds": ["auto"]}]}, "seeds of row 'a' must be a list of whole numbers, got"),
        (
            {"rows": [{"name": "a", "budgets": []}]},
            "budgets of row 'a' must be a list of whole numbers, auto or question, got",
        ),
        ({"rows": [{"name": "a", "budgets": [True]}]}, "budgets of row 'a' must be a list"),
        ({"rows": [{"name": "a", "method": "none"}]}, "row 'a': there is no method 'none'"),
        ({"rows": [{"name": "a", "settings": {"merg": False}}]}, "row 'a': unknown setting 'merg'"),
        ({"rows": [{"name": "a", "method": "all_patches", "budgets": [32]}]}, "row 'a': the method all_patches has"),
        ({"rows": [{"name": "a", "budgets": [31]}]}, "row 'a': budget must be auto, question or one of"),
        (
            {"rows": [{"name": "a", "decoding": "slow"}]},
            "rows, entry 1: decoding must be one of fast, exact, one-per-step",
        ),
        ({"rows": [{"name": "a", "denoising": {"steps": 3}}]}, "row 'a': steps plans what threshold decides"),
        ({"rows": [{"name": "a", "denoising": {"pace": 3}}]}, "row 'a': "),
        ({"decoding": "slow"}, "decoding must be one of fast, exact, one-per-step"),
        ({"benchmarks": [{"name": "chartqb"}]}, "benchmarks, entry 1: there is no benchmark 'chartqb'"),
        ({"benchmarks": [{"name": "entitygrid", "split": "train"}]}, "benchmarks, entry 1: entitygrid has no split"),
        ({"model": "nowhere/at-all"}, "nowhere/at-all"),
        ({"rows": [{"name": "a", "adapter": "no/adapter"}]}, "row 'a': there is no adapter directory no/adapter"),
        ({"tokens": 0}, "tokens must be a whole number"),
        ({"budgets": 48}, "budgets must be a list of whole numbers, auto or question, got 48"),
        ({"budgets": "auto"}, "budgets must be a list of whole numbers, auto or question, got 'auto'"),
        ({"out": 5}, "out must be a text, got 5"),
        ({"model": 5}, "model must be a text, got 5"),
        ({"settings": "x"}, "settings must be 'name: value' pairs, got 'x'"),
        ({"rows": [{"name": 3}]}, "rows, entry 1: name must be a text, got 3"),
        ({"rows": [{"method": "tome"}]}, "rows, entry 1: the setting 'name' is missing; give it"),
        ({"rows": [{"name": "a", "settings": [1]}]}, "rows, entry 1: settings must be 'name: value' pairs, got [1]"),
        ({"rows": [{"name": "a", "trained": "maybe"}]}, "rows, entry 1: trained must be true or false"),
        ({"rows": [{"name": "a", "seeds": [0, 0]}]}, "seeds of row 'a' must be at least 0 and differ, got [0, 0]"),
        ({"rows": [{"name": "a", "seeds": [-1]}]}, "seeds of row 'a' must be at least 0 and differ, got [-1]"),
        ({"benchmarks": ["docpage"]}, "benchmarks, entry 1 must be 'name: value' pairs, got 'docpage'"),
        ({"benchmarks": [{"name": [1]}]}, "benchmarks, entry 1: name must be a text, got [1]"),
        ({"benchmarks": [{"name": "docpage"}] * 2}, "each benchmark can be asked once, got 'docpage-full-test' twice"),
        (
            {"benchmarks": [{"name": "docpage", "style": "shapes", "questions": 2}]},
            "docpage-shapes-test: all 2 questions are about one page, and how much pages differ cannot be told from it",
        ),
    ],
)
def test_mistakes_are_named_before_anything_is_run(values, tmp_path, capsys, monkeypatch, changes, message) -> None:
    monkeypatch.setattr("llava.eval.ablation.Session.open", None)
    config = write_config(tmp_path, {**values, "out": str(tmp_path / "out"), **changes})
    assert main([str(config)]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_change_that_is_no_yaml_is_named(values, tmp_path, capsys) -> None:
    config = write_config(tmp_path, {**values, "out": str(tmp_path / "out")})
    assert main([str(config), "--set", "budgets=["]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ablate: --set budgets=[: ")


def test_where_results_cannot_go_is_named(values, tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    config = write_config(tmp_path, {**values, "out": str(tmp_path / "file")})
    assert main([str(config)]) == 2
    assert "cannot be made (Not a directory); choose another directory" in capsys.readouterr().err


def test_a_log_holds_no_bars(values, cells, tmp_path, capfd) -> None:
    del cells  # they are what fills the directory
    config = write_config(tmp_path, {**values, "rows": ROWS[:1]})
    assert main([str(config)]) == 0
    assert capfd.readouterr().err == ""
