#!/usr/bin/env bash
# Train on the 8 GPUs of one machine; train_8xa100.sh -h says how.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/common.sh
source scripts/common.sh

usage() {
  cat <<'END'
usage: scripts/train_8xa100.sh CONFIG [option ...]

Train on the 8 GPUs of one machine, and go on where an interrupted run of the same configuration ended. Paths are read
from the root of the repository; options are those of `python -m scripts.train_shirg_x`.

Exit codes: 0 done, 1 the run has ended early, 2 wrong settings or data, 75 it was told to end (SIGTERM) and has saved:
start it again, and it goes on.

  scripts/train_8xa100.sh configs/train/shirg_x.yaml
  scripts/train_8xa100.sh configs/train/shirg_x.yaml --set trainable.rank=16 --out runs/rank_16
END
}

check_training "$@"
config=$1
shift
exec python -m llava.train.launch --standalone --nproc-per-node 8 -m scripts.train_shirg_x "$config" --resume "$@"
