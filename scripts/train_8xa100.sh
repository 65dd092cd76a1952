#!/usr/bin/env bash
# Train on the 8 GPUs of one machine, and go on where an interrupted run of the same configuration ended:
#
#   scripts/train_8xa100.sh configs/train/shirg_x.yaml
#   scripts/train_8xa100.sh configs/train/shirg_x.yaml --set trainable.rank=16 --out runs/rank_16
set -euo pipefail
cd "$(dirname "$0")/.."
config=${1:?"usage: scripts/train_8xa100.sh CONFIG [options of scripts.train_shirg_x]"}
shift
exec torchrun --standalone --nproc-per-node 8 -m scripts.train_shirg_x "$config" --resume "$@"
