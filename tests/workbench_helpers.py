"""Running what the documents print: Python as it stands, commands in this process, in a working folder of their own.

What a command does here differs from what it does for a reader in three ways, which CONTRIBUTING.md lists: a name of
LaViDa-8B means a small checkpoint, a command that takes long does a small part of its work, and training of more than
a few steps is planned.
"""

import ast
import importlib
import os
import re
import runpy
import shlex
import shutil
import subprocess
import tomllib
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import yaml
from torch import Tensor

from llava.data.mixture import read_sources
from llava.eval.ablation_config import AblationConfig
from llava.model.multimodal_encoder.siglip_encoder import SigLipVisionTower
from llava.serve.cli import main as lavida
from llava.serve.options import build_parser
from llava.serve.parser import UsageError
from llava.serve.requests import checkpoint_of, load_session
from llava.serve.serve import config_of
from llava.serve.train import settings_of
from llava.train.config import TrainConfig
from llava.train.reading.config import ReadingConfig
from shirg.config import ShirgXConfig
from tests.documents_helpers import ROOT, Block, command_lines
from tests.server_helpers import serving

LAVIDA_NAMES = re.compile(r"(?<![\w/.-])(?:jacklishufan/lavida-llada-v1\.0-instruct|DIR_OR_HUB_ID|LAVIDA)(?![\w/-])")
"""What documents call LaViDa-8B; here a small checkpoint stands in for it."""
PLANNED = {"lavida train", "llava.train", "scripts.train_shirg_x", "scripts.train_reading"}
"""Commands that train; here they read their settings and plan the run."""
QUICK_STEPS = 5
"""Runs of no more steps than that, on a CPU, are made and not planned."""
ARGUMENTS_ONLY = {"lavida demo"}
"""Commands that .ci/run starts by itself; here their arguments are read."""
SHORTENED: dict[str, tuple[str, ...]] = {
    "lavida eval": ("--questions", "2"),
    "lavida bench": ("--rounds", "1", "--tokens", "4", "--budget", "512"),
    "scripts.benchmark_training": ("--steps", "1"),
    "scripts.make_pages": ("--count", "2"),
    "scripts.fit_question_budget": ("--questions", "2"),
    "scripts.measure_budgets": ("--pages", "4"),
    "scripts.measure_reading": ("--pages", "1"),
}
"""Options that make long commands short; those that are given last count."""
PLAIN = {"cat", "cp", "curl", "echo", "head", "ls", "mkdir", "wc"}
"""Commands of the system that run as they are."""
INSTALLERS = ("pip install", "uv pip install", "uv sync", "uv add", "uv venv", "git clone", "source .venv/bin/activate")
"""Lines that set an environment up: not run, but the extras they name must be there."""
SERVED_PORT = "127.0.0.1:8000"
"""Where documents find a server; here it is wherever there was room."""
HUB = ("hf download", "hf auth login")
ASSETS = ROOT / "llava" / "assets"
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def pages_at_hand() -> dict[str, Path]:
    """The pages of a working folder, by the name that documents use."""
    bundled = {path.name: path for path in (ASSETS / "pages").iterdir() if path.suffix in {".png", ".pdf"}}
    typed = {path.name: path for path in (ASSETS / "typed").glob("*.png")}
    named = {"page.png": "doc_page_0.png", "chart.png": "chart_page_0.png", "grid.png": "entity_grid_0.png"}
    aliases = {"page.pdf": bundled["invoice.pdf"], "report.pdf": bundled["invoice.pdf"]}
    return bundled | typed | {name: typed[file] for name, file in named.items()} | aliases


def lay_out(folder: Path, *, adapter: Path, planned: Path) -> None:
    """A working folder: the pages, the settings of a clone, and an adapter where training would have put it."""
    for name, page in pages_at_hand().items():
        shutil.copy(page, folder / name)
    (folder / "llava").mkdir()
    (folder / "llava" / "assets").symlink_to(ASSETS)
    shutil.copytree(ROOT / "configs", folder / "configs")
    for file in (folder / "configs").rglob("*.yaml"):
        file.write_text(LAVIDA_NAMES.sub(str(planned), file.read_text()))
    shutil.copytree(ROOT / "docs" / "results", folder / "docs" / "results")
    for file in (folder / "docs").rglob("settings.yaml"):
        _shorten(file)
    shutil.copytree(adapter, folder / "runs" / "shirg_x" / "best")


def _shorten(settings: Path) -> None:
    """Leave a comparison eight questions (about two pages), its first benchmark and budget, and two rows."""
    values = yaml.safe_load(settings.read_text())
    values["benchmarks"] = [{**values["benchmarks"][0], "questions": 8}]
    values["rows"] = [{**row, "seeds": row.get("seeds", [0])[:1]} for row in values["rows"][:2]]
    values["budgets"] = values["budgets"][:1]
    settings.write_text(yaml.safe_dump(values))


@dataclass(kw_only=True)
class Workbench:
    """Runs the blocks of one page, one behind the other, in the working folder, which is the current directory."""

    lavida: Path
    """What stands in for LaViDa-8B where it answers."""
    planned: Path
    """What stands in for it where training is planned: its configuration in full size."""
    running: ExitStack = field(default_factory=ExitStack)
    """The server that a page has started; the end of the page ends it."""
    port: int | None = None
    """Where it listens instead of at ``SERVED_PORT``."""
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})
    """What the page's Python has defined so far."""

    def run(self, block: Block) -> None:
        """Run a block, or check as much of it as can be checked.

        Raises:
            AssertionError: if it fails, saying where and how.
        """
        try:
            self._run(block)
        except (Exception, SystemExit) as error:
            raise AssertionError(f"{block} ({block.language}) fails: {error}\n{traceback.format_exc()}") from None

    def _run(self, block: Block) -> None:
        if self.port is not None:
            block = replace(block, source=block.source.replace(SERVED_PORT, f"127.0.0.1:{self.port}"))
        if block.file is not None:
            target = Path(block.file)
            target.parent.mkdir(parents=True, exist_ok=True)
            assert target.resolve().is_relative_to(Path.cwd()), f"{target} lies outside of the working folder"
            target.write_text(block.source)
        elif block.language == "python":
            self._python(block)
        elif block.language == "bash":
            for line in command_lines(block.source):
                self._line(line, checked_only=block.not_run is not None)
        elif block.language in ("yaml", "json"):
            check_settings(yaml.safe_load(block.source))
        else:
            known = "python, bash, yaml, json, or text for what is not code"
            assert block.language in ("text", "bibtex"), f"the language must be one of {known}"

    def _python(self, block: Block) -> None:
        source = "\n" * block.line + LAVIDA_NAMES.sub(str(self.lavida), block.source)
        code = compile(source, str(block), "exec")
        if block.not_run is None:
            with redirect_stdout(StringIO()):
                exec(code, self.names)
            return
        tree = ast.walk(ast.parse(source))
        exec("\n".join(ast.unparse(each) for each in tree if isinstance(each, ast.Import | ast.ImportFrom)), {})

    def _line(self, line: str, *, checked_only: bool) -> None:
        command, *pipes = re.split(r"\s\|\s", line)
        for part in re.split(r"\s&&\s", command):
            words, target = shlex.split(part, comments=True), None
            if ">" in words[-2:]:
                words, target = words[:-2], Path(words[-1])
            said = self._command(words, checked_only=checked_only)
            if target is not None and said is not None:
                target.write_text(said)
        if pipes and said is not None:
            piped = subprocess.run(
                ["bash", "-c", "set -eo pipefail; " + " | ".join(pipes)],
                input=said,
                capture_output=True,
                text=True,
                check=False,
            )
            assert piped.returncode == 0, f"{line}: {piped.stderr}"

    def _command(self, words: Sequence[str], *, checked_only: bool) -> str | None:
        """Run a command and return what it prints; None where it is only checked."""
        words = list(words)
        while re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        text = " ".join(words)
        if text.startswith(INSTALLERS):
            named = re.findall(r"lavida-shirg\[([\w,]+)\]|\.\[([\w,]+)\]|--extra (\w+)", text)
            missing = {extra for found in named for extra in "".join(found).split(",")} - EXTRAS
            assert not missing, f"pyproject.toml has no extra {missing}"
            return None
        if words[:2] == ["uv", "run"]:
            words = words[2:]
            while words[0].startswith("-"):
                words = words[2:] if words[0] == "--extra" else words[1:]
        if words[0] == "make":
            targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
            unknown = {word for word in words[1:] if "=" not in word} - targets
            assert not unknown, f"the Makefile has no target {unknown}"
            return None
        if words[0] == "cd":
            assert words[1:] == ["lavida-shirg"] or Path(words[1]).is_dir(), f"there is no folder {words[1]}"
            return None
        if words[0] == "pytest":
            missing = {
                word for word in words[1:] if word.startswith("tests") and not (ROOT / word.split("::")[0]).exists()
            }
            assert not missing, f"there is no {missing}"
            return None
        if words[0] == "sbatch":
            words = words[1:]
        if words[0].startswith("scripts/") and words[0].endswith(".sh"):
            assert checked_only, f"{words[0]} needs a mark: it cannot run here"
            assert os.access(ROOT / words[0], os.X_OK), f"there is no script {words[0]}"
            return None
        if text.startswith(HUB):
            assert checked_only, f"{text} needs the mark <!-- not run: needs the hub -->"
            return None
        if words[0] in PLAIN:
            assert not checked_only
            return subprocess.run(words, capture_output=True, text=True, check=True).stdout
        if words[0] in ("torchrun", "accelerate"):
            words = _without_launcher(words)
        return self._program(words, checked_only=checked_only)

    def _program(self, words: list[str], *, checked_only: bool) -> str | None:
        """``lavida COMMAND ...``, ``python -m MODULE ...``, ``python FILE ...`` or ``python -c CODE``."""
        if words[0] == "lavida":
            name, arguments = " ".join(words[:2]), words[2:]
            program: Callable[[list[str]], int] = lambda given: lavida([*words[1:2], *given])  # noqa: E731
        elif words[:2] == ["python", "-m"]:
            name, arguments = words[2], words[3:]
            if name == "llava.train":
                program = lambda given: lavida(["train", *given])  # noqa: E731
            else:
                program = importlib.import_module(name).main
        else:
            assert words[0] == "python", f"nobody knows how to run {words[0]!r} here; see tests/workbench_helpers.py"
            assert not checked_only, "only commands of this project are checked without being run"
            with redirect_stdout(StringIO()) as out:
                exec(words[2], {}) if words[1] == "-c" else runpy.run_path(words[1], run_name="__main__")
            return out.getvalue()

        stand_in = self.planned if name in PLANNED else self.lavida
        arguments = [LAVIDA_NAMES.sub(str(stand_in), word) for word in arguments]
        if name == "lavida serve" and not checked_only:
            self._serve(arguments)
            return None
        if checked_only or name in ARGUMENTS_ONLY:
            self._check_arguments(name, arguments)
            return None
        return self._call(program, name, arguments)

    def _serve(self, arguments: list[str]) -> None:
        """Serve on a free port till the end of the page; a second server of a page only has its settings read."""
        args = build_parser().parse_args(["serve", "--no-page", *arguments])
        config = config_of(args)
        if self.port is None:
            checkpoint = checkpoint_of(args)
            session = load_session(args, checkpoint)
            served = self.running.enter_context(serving(session, model_name=config.model_name))
            self.port = served.port

    def _call(self, program: Callable[[list[str]], int], name: str, arguments: list[str]) -> str | None:
        if name in PLANNED:
            parsed = build_parser().parse_args(["train", *arguments])
            config = settings_of(parsed)
            if isinstance(config, ReadingConfig):
                return None  # there is no plan of such a run
            if not is_quick(config):
                made = [] if Path(config.model).exists() else ["--model", str(ASSETS / "lavida-small")]
                arguments = [*arguments, *made, "--dry-run"]  # an earlier stage makes the model it starts from
        elif name != "lavida eval" or ("--benchmark" in arguments and "--shard" not in arguments):
            arguments = [*arguments, *SHORTENED.get(name, ())]
        code, out, err = _ended(program, arguments)
        if name in PLANNED and code == 2 and "--samples" not in arguments:
            # The records of sets that are downloaded cannot be counted here.
            code, out, err = _ended(program, [*arguments, "--samples", "1000"])
        assert code == 0, f"{name} {shlex.join(arguments)} ends with {code}: {err}"
        return out

    @staticmethod
    def _check_arguments(name: str, arguments: list[str]) -> None:
        if name in PLANNED or name in ("scripts.merge_adapter",):
            name = "lavida merge-adapter" if name == "scripts.merge_adapter" else "lavida train"
        try:
            if name.startswith("lavida"):
                build_parser().parse_args([*name.split()[1:], *arguments])
            else:
                importlib.import_module(name).build_parser().parse_args(arguments)
        except UsageError as error:
            raise AssertionError(f"{name} {shlex.join(arguments)}: {error}") from error


def _ended(program: Callable[[list[str]], int], arguments: list[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    threads = torch.get_num_threads()
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        try:
            code = program(arguments)
        except SystemExit as ended:  # --help and --version
            code = int(ended.code or 0)
    torch.set_num_threads(threads)
    return code, out.getvalue(), err.getvalue()


def is_quick(config: TrainConfig) -> bool:
    """Whether a run is a matter of seconds, on a CPU, so that it need not be planned only."""
    return bool(config.trainer.get("use_cpu")) and 0 < config.trainer.get("max_steps", 0) <= QUICK_STEPS


def _without_launcher(words: list[str]) -> list[str]:
    """What every process of ``torchrun ...`` runs."""
    from torch.distributed.run import get_args_parser

    assert words[0] == "torchrun", "only torchrun is read"
    found = get_args_parser().parse_args(words[1:])
    return ["python", *(["-m"] if found.module else []), found.training_script, *found.training_script_args]


def check_settings(values: Any) -> None:
    """Whether a piece of YAML is what some reader of settings takes, with whatever it lacks put in.

    Raises:
        AssertionError: if none does, with what each of them says.
    """
    base = {"model": "m", "out": "o"}
    benchmarks = [{"name": "docpage", "style": "typed_full"}]
    readers: dict[str, Callable[[], object]] = {
        "training": lambda: TrainConfig.from_dict({**base, "mixture": "m.json", **values}),
        "training on pages": lambda: TrainConfig.from_dict({**base, **values}),
        "reading": lambda: ReadingConfig.from_dict({**base, **values}),
        "SHIRG-X": lambda: ShirgXConfig.from_dict(values),
        "a comparison": lambda: AblationConfig.from_dict(
            {"out": "o", "benchmarks": benchmarks, "rows": [{"name": "r"}], **values}
        ),
        "a mixture": lambda: _read_mixture(values),
    }
    said = {}
    for name, read in readers.items():
        try:
            read()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            said[name] = str(error)
        else:
            return
    raise AssertionError("no settings of any kind: " + "; ".join(f"{name}: {text}" for name, text in said.items()))


def _read_mixture(values: Any) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "mixture.yaml"
        file.write_text(yaml.safe_dump(values))
        with suppress(FileNotFoundError):  # whatever they name is not here
            read_sources(file)


class SeenViews:
    """A vision tower's output for views that it has seen, so that pages which many commands ask are encoded once."""

    def __init__(self) -> None:
        self._seen: dict[tuple[Any, ...], Tensor] = {}
        self._forward = SigLipVisionTower.forward

    def forward(self) -> Callable[[SigLipVisionTower, Tensor], Tensor]:
        """In place of the tower's own."""

        def forward(tower: SigLipVisionTower, pixel_values: Tensor) -> Tensor:
            weights = sum(float(each.detach().float().abs().sum()) for each in tower.parameters())
            kinds = tower.dtype, pixel_values.dtype
            key = (weights, tower.num_layers_run, *kinds, pixel_values.float().numpy(force=True).tobytes())
            if torch.is_grad_enabled() or key not in self._seen:
                self._seen[key] = self._forward(tower, pixel_values)
            return self._seen[key].clone()

        return forward
