#!/usr/bin/env bash
# The same as a job of SLURM, on as many machines of 8 GPUs as it is given:
#
#   sbatch scripts/train_slurm.sh configs/train/shirg_x.yaml
#
# A job that runs out of time is put back into the queue and goes on from its last checkpoint.
#SBATCH --job-name=shirg-x
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=96
#SBATCH --time=08:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --output=%x-%j.log
set -euo pipefail
config=${1:?"usage: sbatch scripts/train_slurm.sh CONFIG [options of scripts.train_shirg_x]"}
shift
trap 'scontrol requeue "$SLURM_JOB_ID"' USR1
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun torchrun --nnodes "$SLURM_NNODES" --nproc-per-node 8 --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d \
  --rdzv-endpoint "$head:29500" -m scripts.train_shirg_x "$config" --resume "$@" &
wait
