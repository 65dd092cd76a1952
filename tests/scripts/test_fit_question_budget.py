"""The mass of relevance that questions need: the fit against trying every mass, and the command line."""

import json
from pathlib import Path

import numpy as np
import pytest

from scripts import fit_question_budget
from scripts.fit_question_budget import Need, fit, picked, summarize, survival

BUDGETS = (8, 16, 64)


def needs(seed: int, questions: int = 40) -> list[Need]:
    """Questions whose evidence survives from some budget on, and shares that know a little of it."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(questions):
        least = int(rng.integers(0, 4))
        shares = np.sort(rng.random(3)) ** (1 + least)
        found.append(
            Need(kind="at", shares=tuple(shares.tolist()), survives=tuple(place >= least for place in range(3)))
        )
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("slack", [0.0, 0.1, 0.4])
def test_the_fit_picks_as_the_smallest_mass_that_will_do(seed: int, slack: float) -> None:
    asked = needs(seed)
    goal = survival(asked, np.full(len(asked), 2)) - slack

    def enough(mass: float) -> bool:
        kept = [
            need.survives[next((place for place, share in enumerate(need.shares) if share >= mass), 2)]
            for need in asked
        ]
        return float(np.mean(kept)) >= goal

    shares = sorted({0.0, *(share for need in asked for share in need.shares)})
    least = next(mass for mass in shares if enough(mass))
    assert picked(asked, fit(asked, slack)).tolist() == picked(asked, least).tolist()


def test_what_a_group_of_questions_needs_and_gets() -> None:
    asked = [
        Need(kind="at", shares=(0.9, 0.95, 1.0), survives=(True, True, True)),
        Need(kind="at", shares=(0.2, 0.9, 0.95), survives=(False, True, True)),
        Need(kind="at", shares=(0.1, 0.2, 0.3), survives=(False, False, False)),
    ]
    assert picked(asked, 0.8).tolist() == [0, 1, 2]
    told = summarize(asked, BUDGETS, 0.8)
    assert (told["questions"], told["needed_median"]) == (3, 16)
    assert told["mean"] == pytest.approx(88 / 3)
    assert told["survives"] == pytest.approx(2 / 3)
    assert told["fixed"] == {"8": pytest.approx(1 / 3), "16": pytest.approx(2 / 3), "64": pytest.approx(2 / 3)}
    assert summarize(asked[2:], BUDGETS, 0.8)["needed_median"] is None


def test_the_command_stores_what_it_found_and_how(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--benchmark", "docpage", "--questions", "3", "--out", str(tmp_path / "mass")]
    assert fit_question_budget.main(words) == 0
    stored = json.loads((tmp_path / "mass" / "results.json").read_text())
    assert stored["command"] == f"python -m scripts.fit_question_budget {' '.join(words)}"
    assert 0 <= stored["question_mass"] <= 1
    assert stored["groups"]["all"]["questions"] == stored["groups"]["docpage"]["questions"] <= 3
    assert stored["budgets"] == stored["shirg_x"]["question_budgets"]
    assert len(stored["provenance"]["commit"]) >= 12
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"question_mass": stored["question_mass"]}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere", "--out", "out"], "nowhere"),
        (["--slack", "1", "--out", "out"], "--slack must be at least 0 and less than 1"),
        (["--benchmark", "nothing", "--out", "out"], "there is no benchmark 'nothing'"),
        (["--questions", "0", "--out", "out"], "at least 1"),
    ],
)
def test_what_cannot_be_fitted_is_said(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert fit_question_budget.main(words) == 2
    assert message in capsys.readouterr().err
