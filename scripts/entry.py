"""What the command lines of the scripts share: how they end, and values that several of them read."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from llava.inference.words import one_line
from llava.serve.cli import is_out_of_memory
from llava.serve.parser import Parser


def run(
    parser: Parser,
    command: Callable[[argparse.Namespace], None],
    arguments: Sequence[str] | None,
) -> int:
    """Run a command with its parsed arguments and return the exit code.

    Bad input (ValueError, OSError, and too much for the memory) ends in one line on stderr and exit code 2.
    """
    try:
        command(parser.parse_args(arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes stdout once more at its end, and would complain there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if not isinstance(error, ValueError | OSError) and not is_out_of_memory(error):
            raise
        print(f"{parser.prog}: {one_line(_reason(error))}", file=sys.stderr)
        return 2
    return 0


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}; check the path and its permissions"
    return str(error) or type(error).__name__


def check_file(path: Path) -> None:
    """Find out before long work whether its result can be written; an existing file keeps its content.

    Raises:
        OSError: if it cannot.
    """
    is_new = not path.exists()
    path.open("a").close()
    if is_new:
        path.unlink()
