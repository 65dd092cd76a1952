"""``lavida train`` from a clone: one file of settings per stage.

    python -m scripts.train_shirg_x configs/train/shirg_x.yaml
    torchrun --nproc-per-node 8 -m scripts.train_shirg_x configs/train/shirg_x.yaml --out runs/shirg_x --resume

``lavida train --help`` names all options.
"""

import sys
from collections.abc import Sequence

from llava.serve.cli import main as lavida


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; gives the exit code."""
    return lavida(["train", *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == "__main__":
    sys.exit(main())
