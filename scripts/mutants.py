"""Change the code on purpose, one place at a time, and see whether the tests notice.

    make mutants                         # all of them: hours
    make mutants MUTANTS="--sample 100"  # a random hundred; those that were tried before are not tried again

or, where Cosmic Ray is installed:

    python -m scripts.mutants --file shirg/merging.py --again

Results go to docs/results/mutants.json as they come, so that a run can be stopped and started again. A mutant that no
test notices has "survived": add a test, or write under its "why" what makes it the same program; then it counts as
explained. `--check` fails below 95 % killed or explained.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scripts.mutating import Mutant, changed_functions, mutants_of, put_in

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results" / "mutants.json"
ENOUGH = 0.95

PLACES = (
    *("shirg", "lavida_shirg_integration.py", "llava/model/language_model/diffusion"),
    *("llava/train/losses", "llava/metrics"),
)
_BASELINES = ("tests/shirg/test_baselines.py", "tests/shirg/test_baselines_greedy.py")
_GENERATE = ("tests/model/test_generate.py",)
_PATCH = ("tests/integration/test_selection.py", "tests/integration/test_integration.py")
_LOSSES = ("tests/train/losses/test_registry.py", "tests/train/test_parts.py", "tests/train/test_refusals.py")
TESTS: Mapping[str, tuple[str, ...]] = {
    "shirg": ("tests/shirg/test_{name}.py",),
    "shirg/config.py": ("tests/shirg/test_shirg_config.py",),
    "shirg/counts.py": ("tests/shirg/test_counts.py", *_PATCH),
    "shirg/encoded.py": ("tests/shirg/test_mixed_grids.py", *_PATCH),
    "shirg/ink.py": ("tests/shirg/test_ink.py", "tests/shirg/test_shirg_selector.py"),
    "shirg/joining.py": ("tests/shirg/test_joining.py", "tests/shirg/test_mixed_grids.py"),
    "shirg/settings.py": ("tests/shirg/test_shirg_config.py", "tests/shirg/test_settings_files.py"),
    "shirg/shirg_selector.py": ("tests/shirg/test_shirg_selector.py", "tests/shirg/test_mixed_grids.py"),
    "shirg/transfer.py": _PATCH,
    "shirg/weights.py": ("tests/tuning/test_adapter_refusals.py", "tests/tuning/test_adapter.py"),
    "shirg/baselines": _BASELINES,
    "shirg/sources": ("tests/shirg/test_sources.py",),
    "lavida_shirg_integration.py": _PATCH,
    "llava/model/language_model/diffusion": _GENERATE,
    "llava/model/language_model/diffusion/decoding.py": ("tests/inference/test_decoding.py", *_GENERATE),
    "llava/model/language_model/diffusion/cuda_graph.py": (
        "tests/model/test_cuda_graph.py",
        "tests/model/test_captured_step.py",
    ),
    "llava/model/language_model/diffusion/drafting.py": ("tests/model/test_drafting.py",),
    "llava/model/language_model/diffusion/sampling.py": ("tests/model/test_sampling.py", *_GENERATE),
    "llava/model/language_model/diffusion/schedule.py": ("tests/model/test_schedule.py", *_GENERATE),
    "llava/train/losses": ("tests/train/losses/test_{name}.py",),
    "llava/train/losses/budget.py": ("tests/train/losses/test_budget_labels.py",),
    "llava/train/losses/config.py": _LOSSES,
    "llava/train/losses/options.py": _LOSSES,
    "llava/train/losses/registry.py": _LOSSES,
    "llava/train/losses/loss.py": _LOSSES,
    "llava/metrics": ("tests/metrics/test_metrics.py",),
    "llava/metrics/calibration.py": ("tests/metrics/test_calibration.py",),
    "llava/metrics/reading.py": ("tests/metrics/test_reading.py",),
}
"""The quickest tests that a file is held by; the longest place that fits decides."""


def build_parser() -> argparse.ArgumentParser:
    # Not the parser of the other scripts, which imports what the tests must import first, to have its types checked.
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__, formatter_class=form, allow_abbrev=False)
    parser.add_argument("--sample", type=_positive, metavar="N", help="try so many, drawn by --seed (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: 0)")
    parser.add_argument("--minutes", type=_positive, metavar="M", help="stop after so long; the next run goes on")
    parser.add_argument("--file", action="append", default=[], metavar="PATH", help="only this one; may be repeated")
    parser.add_argument("--again", action="store_true", help="try those again that survived, as after a new test")
    parser.add_argument("--list", action="store_true", help="print what would be tried, and try nothing")
    parser.add_argument("--check", action="store_true", help="try nothing; fail if too many survived")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def files() -> list[str]:
    """What is mutated, relative to the clone."""
    found = [file for place in PLACES for file in (sorted((ROOT / place).rglob("*.py")) or [ROOT / place])]
    return [str(file.relative_to(ROOT)) for file in found]


def tests_of(file: str) -> list[str]:
    """The tests that are to notice a change in a file; none where it holds no functions of its own."""
    place = max((place for place in TESTS if file == place or file.startswith(f"{place}/")), key=len)
    named = [test.format(name=Path(file).stem) for test in TESTS[place]]
    return [test for test in named if (ROOT / test).is_file()]


def drawn(chosen: Sequence[str], seed: int) -> Iterator[Mutant]:
    """All mutants of some files in an order of chance, in which a smaller sample begins a larger one."""
    mutants = [mutant for file in chosen for mutant in mutants_of(ROOT, file)]
    for mutant in sorted(mutants, key=lambda mutant: hashlib.sha256(f"{seed} {mutant.id}".encode()).digest()):
        if changed_functions((ROOT / mutant.file).read_text(), mutant):
            yield mutant


def read_results() -> dict[str, dict[str, Any]]:
    """What is known of mutants by their ids."""
    if not RESULTS.is_file():
        return {}
    return {entry["id"]: entry for entry in json.loads(RESULTS.read_text())["mutants"]}


def write_results(known: Mapping[str, dict[str, Any]]) -> None:
    """Keep what is known, with its sums."""
    entries = sorted(known.values(), key=lambda entry: (entry["file"], entry["line"], entry["id"]))
    counts = Counter(entry["outcome"] for entry in entries)
    head = {"made_by": f"cosmic-ray {version('cosmic-ray')}", "command": "make mutants", "tried": len(entries)}
    fresh = RESULTS.with_suffix(".part")
    fresh.write_text(json.dumps({**head, **dict(sorted(counts.items())), "mutants": entries}, indent=1) + "\n")
    fresh.replace(RESULTS)


def warm_up(tests: Sequence[str]) -> None:
    """Import the tests and all that they import, without running one."""
    import pytest

    code = pytest.main([*_OPTIONS, "--collect-only", "-qq", *tests])
    if code:
        raise ValueError(f"the tests cannot be collected (pytest ended with {int(code)}); mend them first")


_OPTIONS = ("-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header")
_IMPORTED = ("-o", "addopts=--strict-markers -m 'not gpu and not long'")
"""In place of the project's own, which ask for checks of types to be put in as modules are imported."""
_SLOWEST = 600
"""Seconds that no run of a file's tests takes."""


def try_in_fork(mutant: Mutant | None, tests: Sequence[str], seconds: float) -> tuple[int, float, str]:
    """Run tests in a copy of this process, changed if there is a mutant: pytest's exit code (-9 out of time), seconds
    of processor, and what it said.

    Args:
        seconds: of processor that the copy may take.
    """
    with tempfile.TemporaryFile("w+") as said:
        child = os.fork()
        if child == 0:
            _run_changed(mutant, tests, seconds, said.fileno())
        end = time.monotonic() + _SLOWEST
        status = 0
        while True:
            done, status, used = os.wait4(child, os.WNOHANG)
            if done:
                break
            if time.monotonic() > end:  # it waits for something that never comes
                os.kill(child, 9)
            time.sleep(0.05)
        said.seek(0)
        code = os.waitstatus_to_exitcode(status)
        return (-9 if code < 0 else code), used.ru_utime + used.ru_stime, said.read()


def _run_changed(mutant: Mutant | None, tests: Sequence[str], seconds: float, out: int) -> None:
    import pytest

    code = 70
    try:
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.stdout = sys.stderr = os.fdopen(out, "w", closefd=False)
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 1))
        if mutant is not None and not put_in(ROOT, mutant):
            os._exit(71)
        code = int(pytest.main([*_OPTIONS, *_IMPORTED, *tests]))
    finally:
        sys.stdout.flush()
        os._exit(code)


def judge(mutant: Mutant, tests: Sequence[str], usual: float) -> dict[str, Any]:
    """Try a mutant, and say what came of it.

    Raises:
        ValueError: if none of the tests has imported what it changes, or pytest could not run.
    """
    code, took, said = try_in_fork(mutant, tests, 10 + 4 * usual)
    if code in (70, 71) or code in (4, 5):
        raise ValueError(f"{mutant.file}, line {mutant.line}: the tests could not be run ({code}): {said[-300:]}")
    before, after = mutant.change((ROOT / mutant.file).read_text())
    failed = [line for line in said.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    by = "it took too long" if code == -9 else failed[0].split(" - ")[0].split(" ", 1)[1] if failed else "pytest"
    outcome = {"outcome": "killed", "by": by} if code else {"outcome": "survived", "why": ""}
    return {
        "id": mutant.id,
        "file": mutant.file,
        "line": mutant.line,
        "before": before,
        "after": after,
        "seconds": round(took, 1),
        **outcome,
    }


def try_all(args: argparse.Namespace) -> None:
    known = read_results()
    if args.check:
        _check(known)
        return
    chosen = [file for file in files() if not args.file or file in args.file]
    if missing := sorted(set(args.file) - set(chosen)):
        raise ValueError(f"{missing[0]} is not among the files that are mutated: {', '.join(PLACES)}")
    tests = {file: tests_of(file) for file in chosen}
    chosen = [file for file in chosen if tests[file]]
    begin = time.monotonic()
    wanted: list[Mutant] = []
    for mutant in drawn(chosen, args.seed):
        wanted.append(mutant)
        if len(wanted) == args.sample:
            break
    left = [mutant for mutant in wanted if _is_open(known.get(mutant.id), again=args.again)]
    print(f"{len(wanted)} mutants, {len(left)} of them to be tried", flush=True)
    if args.list or not left:
        for mutant in left:
            print(f"{mutant.file}:{mutant.line}", *mutant.change((ROOT / mutant.file).read_text()), sep=" | ")
        return
    warm_up(sorted({test for mutant in left for test in tests[mutant.file]}))
    usual: dict[str, float] = {}
    for number, mutant in enumerate(sorted(left, key=lambda mutant: mutant.file), 1):
        if args.minutes is not None and time.monotonic() - begin > 60 * args.minutes:
            print(f"time is up; {len(left) - number + 1} are left")
            return
        if mutant.file not in usual:
            code, usual[mutant.file], said = try_in_fork(None, tests[mutant.file], _SLOWEST)
            if code:
                raise ValueError(f"the tests of {mutant.file} fail as it is: {said[-300:]}")
        entry = judge(mutant, tests[mutant.file], usual[mutant.file])
        known = {**known, entry["id"]: entry}
        write_results(known)
        print(
            number, entry["outcome"], f"{mutant.file}:{mutant.line}", entry["before"], "=>", entry["after"], flush=True
        )
    _check(known)


def _is_open(entry: Mapping[str, Any] | None, *, again: bool) -> bool:
    return entry is None or (again and entry["outcome"] == "survived")


def _check(known: Mapping[str, Mapping[str, Any]]) -> None:
    """Say how many were noticed.

    Raises:
        ValueError: if it is too few.
    """
    good = sum(entry["outcome"] == "killed" or bool(entry.get("why")) for entry in known.values())
    share = good / max(1, len(known))
    print(f"{good} of {len(known)} killed or explained: {share:.1%}")
    if share < ENOUGH:
        raise ValueError(f"less than {ENOUGH:.0%} of the mutants are killed or explained; add tests for the others")


def main(arguments: list[str] | None = None) -> int:
    try:
        try_all(build_parser().parse_args(arguments))
    except (ValueError, OSError, ModuleNotFoundError) as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
