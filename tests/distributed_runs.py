"""Several runs of the training script in one start of some processes, since a start takes longer than a run.

torchrun --nproc-per-node 2 -m tests.distributed_runs a.yaml b.yaml "b.yaml --resume"
"""

import sys
from contextlib import redirect_stdout

from scripts.train_shirg_x import main

if __name__ == "__main__":
    with redirect_stdout(sys.stderr):  # it speaks on import
        import deepspeed.ops
    # Sharing memory between processes needs an operator whose compilation takes longer than all runs together.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    for words in sys.argv[1:]:
        code = main(words.split())
        if code:
            sys.exit(code)
