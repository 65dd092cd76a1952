"""The command ``lavida``: runs one command and turns whatever goes wrong into one line and an exit code.

Exit codes: 0 done, 1 an error of this program or a run that has ended early, 2 bad input, 75 a run that was told to end
and has saved, 130 interrupted, 141 the reader of the output has gone.
Commands are imported when they run, so that ``lavida --help`` need not wait for torch.
"""

import importlib
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from llava.inference.words import one_line
from llava.serve.options import build_parser, module_of
from llava.train.ending import RunEndedError

OUT_OF_MEMORY = "out of memory; keep fewer tokens with --budget 512, load with --dtype bfloat16, or use --device cpu"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; ``argv`` is the process's own when not given."""
    debug = traced = False
    try:
        parser = build_parser()
        args = parser.parse_args(argv)
        args.words = list(sys.argv[1:] if argv is None else argv)
        debug, traced = args.debug, args.debug or args.traceback
        if args.command is None:
            parser.print_help()
        else:
            with _logging(_level(verbose=args.verbose, debug=debug)):
                importlib.import_module(f"llava.serve.{module_of(args)}").run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The interpreter flushes stdout once more at its end, and would complain there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except ModuleNotFoundError as error:
        if traced:
            traceback.print_exc()
        return _fail(f"{error}; install what it needs with pip install 'lavida-shirg[train,eval]'", 2)
    except RunEndedError as error:
        return _fail(str(error), error.code)
    except (ValueError, OSError) as error:
        return _fail(str(error) or type(error).__name__, 2)
    except Exception as error:  # the last line of defense: people must not see tracebacks
        if traced:
            traceback.print_exc()
        if is_out_of_memory(error):
            return _fail(OUT_OF_MEMORY, 2)
        hint = "" if traced else "; run again with --debug to see where"
        return _fail(f"unexpected {type(error).__name__}: {error}{hint}", 1)
    return 0


def _fail(message: str, code: int) -> int:
    print(f"lavida: error: {one_line(message)}", file=sys.stderr)
    return code


def is_out_of_memory(error: Exception) -> bool:
    """Whether there was too little memory, on whatever device."""
    # By name, because torch may not have been imported; on the CPU its allocator raises a plain RuntimeError.
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )


def _level(*, verbose: bool, debug: bool) -> int:
    if debug:
        return logging.DEBUG
    return logging.INFO if verbose else logging.WARNING


@contextmanager
def _logging(level: int) -> Iterator[None]:
    """Send this project's log to stderr while a command runs."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in ("llava", "shirg")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(level)
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger, old in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(old)


if __name__ == "__main__":
    sys.exit(main())
