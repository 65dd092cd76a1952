"""``torchrun`` whose exit code is that of its processes; it takes the same words.

python -m llava.train.launch --standalone --nproc-per-node 8 -m llava.train train/shirg_x --resume

torchrun itself ends with 1 whatever happened. A scheduler must tell a run that is lost (1), settings that are wrong (2)
and a run that was told to end and has saved (75) from one another.
"""

import signal
import sys
from collections.abc import Iterable, Sequence

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import get_args_parser, run

from llava.train.ending import FAILED, SAVED

_PATIENCE = 110
"""Seconds that processes have to save after a signal, below the two minutes that schedulers often give."""


def main(arguments: Sequence[str]) -> int:
    """Start processes and wait for them; gives the exit code."""
    parser = get_args_parser()
    parsed = parser.parse_args(list(arguments))
    if getattr(parsed, "shutdown_timeout", 0) is None:
        parsed.shutdown_timeout = _PATIENCE
    try:
        run(parsed)
    except ChildFailedError as error:
        return code_of(failure.exitcode for failure in error.failures.values())
    except SignalException as error:
        # The processes were sent the same signal, and have saved; or else their last checkpoint is whole.
        return SAVED if error.sigval == signal.SIGTERM else 128 + error.sigval
    return 0


def code_of(exit_codes: Iterable[int]) -> int:
    """One exit code for all: the first that is a process's own word, and not that of one ended for the others' sake."""
    codes = [code for code in exit_codes if code]
    own = [code for code in codes if code > 0]
    return own[0] if own else 128 - codes[0] if codes else FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
