"""The training script, with one process that is killed as a step begins: as by a machine that fails.

python -m llava.train.launch --nproc-per-node 2 -m tests.dying_rank STEP RANK config.yaml
"""

import os
import signal
import sys
from typing import Any

from llava.train.trainer import MaskedDiffusionTrainer
from scripts.train_shirg_x import main

if __name__ == "__main__":
    step, rank = int(sys.argv[1]), int(sys.argv[2])
    training_step = MaskedDiffusionTrainer.training_step

    def dying(self: MaskedDiffusionTrainer, *args: Any, **options: Any) -> Any:
        if self.state.global_step + 1 == step and self.args.process_index == rank:
            os.kill(os.getpid(), signal.SIGKILL)
        return training_step(self, *args, **options)

    MaskedDiffusionTrainer.training_step = dying  # type: ignore[method-assign]
    sys.exit(main(sys.argv[3:]))
