"""``lavida train`` for torchrun, which starts modules: torchrun --nproc-per-node 8 -m llava.train train/shirg_x

An entry point of the command line, and not a part of this floor.
"""

import sys

from llava.serve.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
