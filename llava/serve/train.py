"""``lavida train``: a run from its settings, or the plan of one."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

from llava.model.config_file import read_config_file
from llava.model.hub import resolve_directory
from llava.serve.parser import read_changes
from llava.shipped import find_settings, shipped
from llava.train.config import TrainConfig, change_settings
from llava.train.earlier import find_checkpoint
from llava.train.ending import RunEndedError
from llava.train.faults import explain
from llava.train.reading.config import ReadingConfig
from shirg.settings import read_settings


def run(args: argparse.Namespace) -> None:
    """Train, or plan; the last line on stdout is where the result lies, or the plan.

    Raises:
        FileNotFoundError, ValueError: for bad input, in one sentence.
        RunEndedError: for a run that ends early, with its exit code.
    """
    config = settings_of(args)
    if args.dry_run and isinstance(config, ReadingConfig):
        raise ValueError("--dry-run plans the training of whole models, not of a tower on crops; leave it out")
    if args.full_size and not args.dry_run:
        raise ValueError("--full-size has no weights to train; add --dry-run to plan, or leave it out")
    if not args.full_size:
        read_config_file(resolve_directory(config.model, allow_patterns=("*.json",)))
    # stdout holds the result alone: trainers print their logs, and DeepSpeed's logger is bound to stdout for good.
    with redirect_stdout(sys.stderr), _faults_explained():
        if isinstance(config, ReadingConfig):
            find_checkpoint(config, resume=args.resume)
            result = _read(config, resume=args.resume)
        elif args.dry_run:
            result = _plan(config, args)
        else:
            find_checkpoint(config, resume=args.resume)
            result = _train(config, resume=args.resume)
    if result:
        print(result)


@contextmanager
def _faults_explained() -> Iterator[None]:
    """Errors of libraries, in words that name the mend; those that nobody foresaw stay as they are."""
    try:
        yield
    except RunEndedError:
        raise
    except Exception as error:
        sentence = explain(error)
        if sentence is None:
            raise
        if isinstance(error, ValueError | OSError | ImportError):
            raise ValueError(sentence) from error
        raise RunEndedError(sentence) from error


def settings_of(args: argparse.Namespace) -> TrainConfig | ReadingConfig:
    """The settings of the file, with what the command line changes; a section ``crops`` makes them those of reading.

    Raises:
        FileNotFoundError: if there is no such file, and no shipped one of that name.
        ValueError: if a setting is unknown or wrong.
    """
    path = find_settings(args.settings)
    values = read_settings(path)
    kind = ReadingConfig if "crops" in values else TrainConfig
    try:
        config = kind.from_dict(values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error
    given = {name: getattr(args, name) for name in ("out", "model") if getattr(args, name) is not None}
    changed = change_settings(config, given | read_changes(args.set))
    return changed if isinstance(changed, ReadingConfig) else _with_shipped_files(changed)


def _with_shipped_files(config: TrainConfig) -> TrainConfig:
    """The same, with the paths of shipped files where the settings name them as in a clone."""
    named = {"mixture": config.mixture, "trainer.deepspeed": config.trainer.get("deepspeed")}
    found = {name: shipped(value) for name, value in named.items() if isinstance(value, str)}
    return change_settings(config, {name: str(path) for name, path in found.items() if path is not None})


def _train(config: TrainConfig, *, resume: bool) -> str:
    from llava.train.train import prepare_run

    prepared = prepare_run(config, resume=resume)
    final = prepared.train()
    return str(final) if prepared.trainer.is_world_process_zero() else ""


def _read(config: ReadingConfig, *, resume: bool) -> str:
    from accelerate import PartialState

    from llava.train.reading.run import run_reading

    final = run_reading(config, resume=resume)
    return str(final) if PartialState().is_main_process else ""


def _plan(config: TrainConfig, args: argparse.Namespace) -> str:
    from llava.inference.checkpoint import read_checkpoint_config
    from llava.speed.dry_run import plan_run
    from llava.speed.plan import plan_rows
    from llava.speed.workload import full_size_config

    plan = plan_run(
        config,
        full_size_config(args.full_size) if args.full_size else read_checkpoint_config(config.model),
        processes=args.gpus,
        samples=args.samples,
        samples_per_second=args.samples_per_second,
    )
    rows = plan_rows(plan)
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows)
