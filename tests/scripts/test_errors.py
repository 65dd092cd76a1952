"""How the scripts end: bad input in one line with exit code 2, and help that names every option."""

import argparse
import importlib
import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from llava.inference.checkpoint import BUNDLED_MODEL
from llava.serve.parser import Parser, positive, read_changes
from scripts.entry import check_file, run

ROOT = Path(__file__).parent.parent.parent
COMMANDS = {"train_shirg_x": "train", "train_reading": "train", "merge_adapter": "merge-adapter"}
"""Scripts that are commands of ``lavida`` from a clone."""
FILES = {path.stem: path for folder in ("scripts", "scripts/assets") for path in (ROOT / folder).glob("*.py")}
MODULES = {name: ".".join(path.relative_to(ROOT).with_suffix("").parts) for name, path in FILES.items()}
SCRIPTS = sorted(name for name, path in FILES.items() if "__main__" in path.read_text() and name not in COMMANDS)
STAGE = "configs/train/shirg_x.yaml"
UNWRITABLE = "/dev/null/x"
PAGES = ["--family", "doc_page", "--style", "shapes"]

Start = Callable[..., tuple[int, str, str]]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Start:
    """Run a script as ``python -m`` does, from an empty directory, without a GPU."""

    def start(name: str, *words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *words])
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(FILES[name]), run_name="__main__")
        assert isinstance(ended.value.code, int)
        return ended.value.code, *capsys.readouterr()

    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    return start


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("benchmark_training", ["nope.yaml"], "there is no file nope.yaml"),
        ("benchmark_training", [STAGE, "--full-size", "--device", "tpu"], "device 'tpu' does not exist; use cpu"),
        (
            "benchmark_training",
            [STAGE, "--full-size", "--device", "cuda:99"],
            "device 'cuda:99' cannot be used on this machine; use cpu",
        ),
        ("benchmark_training", [STAGE, "--full-size", "--out", UNWRITABLE], f"{UNWRITABLE}: Not a directory"),
        ("benchmark_training", [STAGE, "--batch", "1", "x"], "argument --batch: must be a whole number of at least 1"),
        ("check_lmms", ["", "--gpus", "many"], "error: argument --gpus: invalid int value: 'many'"),
        ("draw_demo_pages", [UNWRITABLE], f"{UNWRITABLE}: Not a directory"),
        ("draw_demo_pages", ["out", "--pages", "0"], "argument --pages: must be a whole number of at least 1"),
        ("draw_pages", [UNWRITABLE], f"{UNWRITABLE}: Not a directory"),
        ("make_pages", [*PAGES, "--out", UNWRITABLE], "Not a directory; check the path and its permissions"),
        ("make_pages", [*PAGES, "--time", "0"], "argument --time: must be a whole number of at least 1"),
        ("make_pages", [*PAGES, "--out", "out", "--count", "-1"], "argument --count: must be a whole number"),
        ("make_pages", [*PAGES, "--out", "out", "--start", "-5"], "seed and index must not be negative, got 0 and -5"),
        ("make_pages", ["--family", "entity_grid", "--split", "wild", "--time", "1"], "entity_grid has no wild pages"),
        ("make_pages", PAGES, "one of the arguments --out --time is required; see make_pages --help"),
        ("make_small_checkpoint", [UNWRITABLE], f"{UNWRITABLE}: Not a directory"),
        ("make_small_checkpoint", ["out", "--style", "nope"], "argument --style: invalid choice: 'nope'"),
        ("make_small_checkpoint", ["out", "--side", "5"], "--side must be at least 14, the side of a patch, got 5"),
        ("make_small_checkpoint", ["out", "--set", "width"], "--set wants NAME=VALUE, got 'width'"),
        ("make_small_checkpoint", ["out", "--set", "width=["], "--set width=[: the value is not YAML"),
        ("make_small_checkpoint", ["out", "--tower", "nope"], "no directory nope"),
        ("measure_budgets", ["nope"], "no directory nope"),
        ("measure_budgets", ["--plot", UNWRITABLE], f"{UNWRITABLE}: Not a directory"),
        ("measure_loss_memory", ["--width", "3"], "--width must be a multiple of 4, got 3"),
        ("measure_loss_memory", ["--positions", "32"], "the answer must be a part of the positions, got 32 of 32"),
        ("measure_reading", ["nope"], "no directory nope"),
        ("measure_reading", ["nope", "--pages", "0"], "argument --pages: must be a whole number of at least 1"),
        ("merge_adapter", ["nope", "--out", "out"], "there is no adapter directory nope"),
        ("merge_adapter", ["--model", "nope", "--out", "out"], "no directory nope"),
        ("merge_adapter", ["--model", str(BUNDLED_MODEL), "--out", __file__], f"--out {__file__} is a file; give a"),
        ("train_shirg_x", ["nope.yaml"], "there is no file nope.yaml"),
        ("train_shirg_x", [STAGE, "--set", "seed=["], "--set seed=[: the value is not YAML"),
        ("train_shirg_x", [STAGE, "--dry-run", "--gpus", "0"], "argument --gpus: must be a whole number of at least 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_ends_in_one_line(start: Start, tmp_path: Path, name: str, words: list[str], message: str) -> None:
    code, out, err = start(name, *words)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("lavida: error: " if name in COMMANDS else f"{name}: ")
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["configs"]


@pytest.mark.parametrize("name", SCRIPTS)
class TestHelp:
    def test_it_has_the_script_s_name_and_an_example(self, start: Start, name: str) -> None:
        code, out, err = start(name, "--help")
        assert (code, err) == (0, "")
        assert out.startswith(f"usage: {name} [-h]")
        assert f"python -m {MODULES[name]}" in out

    def test_every_option_has_a_word(self, name: str) -> None:
        parser = importlib.import_module(MODULES[name]).build_parser()
        assert [action.dest for action in parser._actions if not action.help] == []


@pytest.mark.parametrize(("name", "command"), COMMANDS.items())
def test_the_scripts_of_commands_help_as_these_do(start: Start, name: str, command: str) -> None:
    code, out, err = start(name, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: lavida {command} [-h]")
    assert f"python -m scripts.{name}" in importlib.import_module(f"scripts.{name}").__doc__


WITHOUT_TORCH = """
import contextlib, importlib, io, json, sys
for name, module in json.load(sys.stdin).items():
    for word in ("--help", "--nope"):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            try:
                code = importlib.import_module(module).main([word])
            except SystemExit as ended:
                code = ended.code
        heavy = {"torch", "transformers", "jaxtyping"} & set(sys.modules)
        assert not heavy, (name, word, heavy)
        assert code == (2 if word == "--nope" else 0), (name, word, code, printed.getvalue())
"""


def test_neither_help_nor_a_wrong_argument_waits_for_torch() -> None:
    names = json.dumps({name: MODULES[name] for name in [*SCRIPTS, *COMMANDS]})
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], cwd=ROOT, input=names, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")


class TestRun:
    @pytest.fixture
    def parser(self) -> Parser:
        return Parser(prog="script")

    def fail(self, error: Exception) -> Callable[[argparse.Namespace], None]:
        def command(args: argparse.Namespace) -> None:
            raise error

        return command

    @pytest.mark.parametrize(
        ("error", "line"),
        [
            (ValueError("two\nlines"), "two lines"),
            (FileNotFoundError(), "FileNotFoundError"),
            (OSError("told by a library"), "told by a library"),
            (PermissionError(13, "Permission denied", "a/b"), "a/b: Permission denied; check the path"),
            (MemoryError("named"), "named"),
        ],
    )
    def test_bad_input_is_one_line(
        self, parser: Parser, capsys: pytest.CaptureFixture[str], error: Exception, line: str
    ) -> None:
        assert run(parser, self.fail(error), []) == 2
        assert capsys.readouterr().err.startswith(f"script: {line}")

    def test_an_error_of_the_program_keeps_its_traceback(self, parser: Parser) -> None:
        with pytest.raises(KeyError, match="wrong"):
            run(parser, self.fail(KeyError("wrong")), [])

    def test_a_reader_that_leaves_is_no_bad_input(self) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        command = [sys.executable, "-m", "scripts.make_pages", *PAGES, "--time", "1"]
        done = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, timeout=60)
        os.close(writing)
        assert (done.returncode, done.stderr) == (141, b"")


def test_changes_are_read_as_yaml() -> None:
    assert read_changes(["a.b=[1, 2]", "name=x=y", "none="]) == {"a.b": [1, 2], "name": "x=y", "none": None}


def test_counts_are_whole_and_positive() -> None:
    assert positive("7") == 7
    for text in ("0", "-1", "1.5", "many"):
        with pytest.raises(argparse.ArgumentTypeError, match="whole number of at least 1"):
            positive(text)


def test_a_check_for_writing_leaves_files_as_they_were(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text("kept")
    for path in (old, tmp_path / "new"):
        check_file(path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("old", "kept")]
    with pytest.raises(OSError, match="directory"):
        check_file(tmp_path)


class TestShell:
    @pytest.fixture
    def calls(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
        """The programs that scripts start, replaced by one that writes down how it was called."""
        programs, log = tmp_path / "programs", tmp_path / "calls"
        programs.mkdir()
        log.touch()
        for name in ("srun", "scancel", "python"):
            (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >> "{log}"\n')
            (programs / name).chmod(0o755)
        noted = f'[ "$1" = requeue ] && echo "scontrol $*" >> "{log}"'
        (programs / "scontrol").write_text(f"#!/bin/sh\n{noted}\nprintf 'first\\nsecond\\n'\n")
        (programs / "scontrol").chmod(0o755)
        monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
        for name in [name for name in os.environ if name.startswith("SLURM_")]:
            monkeypatch.delenv(name)
        return lambda: log.read_text().splitlines()

    def run(self, name: str, *words: str) -> tuple[int, str, str]:
        script = f"scripts/{name}.sh" if "/" not in name else name
        done = subprocess.run(["bash", script, *words], cwd=ROOT, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    @pytest.mark.parametrize(
        ("name", "words", "usage"),
        [
            ("train_8xa100", ["--help"], "scripts/train_8xa100.sh CONFIG"),
            ("train_8xa100", [STAGE, "-h"], "scripts/train_8xa100.sh CONFIG"),
            ("train_slurm", ["--help"], "sbatch scripts/train_slurm.sh CONFIG"),
            ("train_rows", ["-h"], "scripts/train_rows.sh"),
            ("train_rows", ["--set", "seed=1", "--help"], "scripts/train_rows.sh"),
        ],
    )
    def test_help_is_printed_once_and_starts_nothing(
        self, calls: Callable[[], list[str]], name: str, words: list[str], usage: str
    ) -> None:
        code, out, err = self.run(name, *words)
        assert (code, err) == (0, "")
        assert out.startswith(f"usage: {usage} [option ...]\n\n")
        assert out.count("usage:") == 1
        assert calls() == []

    @pytest.mark.parametrize(
        ("name", "usage"),
        [("train_8xa100", "scripts/train_8xa100.sh"), ("train_slurm", "sbatch scripts/train_slurm.sh")],
    )
    def test_without_a_configuration_they_say_how_they_are_used(self, name: str, usage: str) -> None:
        assert self.run(name) == (2, "", f"usage: {usage} CONFIG [option ...]\n")

    @pytest.mark.parametrize(
        ("name", "words", "message"),
        [
            ("train_8xa100", ["nope.yaml"], "there is no configuration nope.yaml"),
            ("train_8xa100", ["--resume"], "there is no configuration --resume"),
            ("train_slurm", ["nope.yaml"], "there is no configuration nope.yaml"),
            (
                "train_slurm",
                [STAGE, "--out", "runs/x"],
                f"this is a job of SLURM; submit it: sbatch scripts/train_slurm.sh {STAGE} --out runs/x",
            ),
            ("train_rows", ["--nope"], "there is no option '--nope'"),
            ("train_rows", ["--out", "runs/x"], "there is no option '--out'"),
            ("train_rows", ["seed=1"], "there is no option 'seed=1'"),
            ("train_rows", ["--out-root"], "--out-root needs a value"),
            ("train_rows", ["--out-root", "--dry-run"], "--out-root needs a value"),
            ("train_rows", ["--out-root", "README.md"], "--out-root README.md is a file; give a directory"),
            ("train_rows", ["--set"], "--set needs a value"),
            ("train_rows", ["--set", "seed=1", "x"], "--set takes NAME=VALUE, got 'x'"),
        ],
    )
    def test_bad_input_is_refused_in_one_line_before_anything_starts(
        self, calls: Callable[[], list[str]], name: str, words: list[str], message: str
    ) -> None:
        expected = f"{name}: error: {message}; see scripts/{name}.sh -h\n"
        assert self.run(name, *words) == (2, "", expected)
        assert calls() == []

    def test_training_on_one_machine_starts_its_processes_and_passes_their_code_on(
        self, calls: Callable[[], list[str]], tmp_path: Path
    ) -> None:
        assert self.run("train_8xa100", STAGE, "--set", "seed=1") == (0, "", "")
        launch = "python -m llava.train.launch --standalone --nproc-per-node 8"
        assert calls() == [f"{launch} -m scripts.train_shirg_x {STAGE} --resume --set seed=1"]
        (tmp_path / "programs" / "python").write_text("#!/bin/sh\nexit 75\n")
        assert self.run("train_8xa100", STAGE)[0] == 75

    @pytest.fixture
    def job(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        for name, value in {"JOB_NODELIST": "gpu[1-2]", "JOB_ID": "7", "NNODES": "2"}.items():
            monkeypatch.setenv(f"SLURM_{name}", value)
        return str(shutil.copy(ROOT / "scripts" / "train_slurm.sh", tmp_path / "slurm_script"))  # as SLURM does

    @pytest.mark.parametrize("code", [1, 2, 75])
    def test_a_job_ends_with_the_code_of_its_steps_and_is_not_queued_again(
        self, calls: Callable[[], list[str]], job: str, tmp_path: Path, code: int
    ) -> None:
        (tmp_path / "programs" / "srun").write_text(f"#!/bin/sh\nexit {code}\n")
        assert self.run(job, STAGE)[0] == code
        assert calls() == []

    def test_a_job_out_of_time_tells_its_steps_to_end_waits_for_them_and_is_queued_again(
        self, calls: Callable[[], list[str]], job: str, tmp_path: Path
    ) -> None:
        # The steps tell the job that time is up, and end as saved once they are told to.
        steps = 'echo told >> "$0.begun"; kill -USR1 "$PPID"; while [ ! -f "$0.end" ]; do sleep 0.05; done; exit 75'
        programs = tmp_path / "programs"
        (programs / "srun").write_text(f"#!/bin/sh\n{steps}\n")
        with (programs / "scancel").open("a") as scancel:
            scancel.write(f'touch "{programs}/srun.end"\n')
        assert self.run(job, STAGE)[0] == 75
        assert calls() == ["scancel --signal=TERM 7", "scontrol requeue 7"]

    def test_a_job_of_slurm_starts_srun(self, calls: Callable[[], list[str]], job: str) -> None:
        assert self.run(job, STAGE) == (0, "", "")
        assert calls() == [
            "srun --kill-on-bad-exit=1 python -m llava.train.launch --nnodes 2 --nproc-per-node 8 --rdzv-id 7 "
            f"--rdzv-backend c10d --rdzv-endpoint first:29500 -m scripts.train_shirg_x {STAGE} --resume"
        ]
        refusal = "train_slurm: error: there is no configuration nope.yaml; see scripts/train_slurm.sh -h\n"
        assert self.run(job, "nope.yaml") == (2, "", refusal)

    def test_a_job_of_slurm_from_elsewhere_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SLURM_JOB_NODELIST", "gpu1")
        script = ROOT / "scripts" / "train_slurm.sh"
        done = subprocess.run(["bash", script, STAGE], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "train_slurm: error: submit it from the root of the repository\n"

    def test_rows_are_trained_with_the_options_unless_they_are_finished(
        self, calls: Callable[[], list[str]], tmp_path: Path
    ) -> None:
        (tmp_path / "rows" / "full" / "final").mkdir(parents=True)
        words = ["--set", "seed=1", "trainer.max_steps=4", "--model", "m", "--out-root", str(tmp_path / "rows")]
        assert self.run("train_rows", *words, "--dry-run") == (0, "", "")
        found = calls()
        assert len(found) == 10
        assert found[0] == (
            "python -m scripts.train_shirg_x docs/results/trained_rows/train.yaml "
            f"--resume --out {tmp_path}/rows/random "
            "--set seed=1 trainer.max_steps=4 --model m --dry-run --set random_selection=1"
        )
