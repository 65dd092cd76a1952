"""``lavida merge-adapter`` from a clone: a checkpoint that needs no adapter.

python -m scripts.merge_adapter runs/shirg_x/best --out merged
"""

import sys
from collections.abc import Sequence

from llava.serve.cli import main as lavida


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; gives the exit code."""
    return lavida(["merge-adapter", *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == "__main__":
    sys.exit(main())
