"""Files and directories that are written whole or not at all: readers never see half of one, whatever is killed."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of ``path`` when the body succeeds."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_directory(directory: Path) -> Iterator[Path]:
    """An empty directory that takes the place of ``directory`` when the body succeeds.

    A run that is killed meanwhile leaves the old one, or the new one, never a mixture. (Between the two renames the old
    one is called ``.NAME.old``: no system renames over a directory that holds something.)
    """
    fresh, old = (directory.with_name(f".{directory.name}.{which}") for which in ("new", "old"))
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        yield fresh
        shutil.rmtree(old, ignore_errors=True)
        if directory.exists():
            directory.rename(old)
        fresh.rename(directory)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def write_text(text: str, path: Path) -> None:
    """Write UTF-8 text, whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode())


def write_json(values: Mapping[str, Any], path: Path) -> None:
    """Write values as indented JSON, whole or not at all."""
    write_text(json.dumps(values, indent=2) + "\n", path)
