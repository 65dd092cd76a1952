"""Several runs of the training script in one start of some processes, since a start takes longer than a run.

torchrun --nproc-per-node 2 -m tests.distributed_runs a.yaml b.yaml "b.yaml --resume"
"""

import sys

from scripts.train_shirg_x import main

if __name__ == "__main__":
    for words in sys.argv[1:]:
        code = main(words.split())
        if code:
            sys.exit(code)
