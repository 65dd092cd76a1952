#!/usr/bin/env bash
# Train as a job of SLURM; train_slurm.sh -h says how.
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
# A job runs a copy of this file, in the directory that sbatch was called from.
[[ -n ${SLURM_JOB_NODELIST-} ]] || cd "$(dirname "$0")/.."
if [[ ! -f scripts/common.sh ]]; then
  echo 'train_slurm: error: submit it from the root of the repository' >&2
  exit 2
fi
# shellcheck source=scripts/common.sh
source scripts/common.sh
script=scripts/train_slurm.sh name=train_slurm

usage() {
  cat <<'END'
usage: sbatch scripts/train_slurm.sh CONFIG [option ...]

Train as a job of SLURM, on as many machines of 8 GPUs as it is given. A job that runs out of time is put back into the
queue and goes on from its last checkpoint. Submit it from the root of the repository; options are those of
`python -m scripts.train_shirg_x`.

  sbatch scripts/train_slurm.sh configs/train/shirg_x.yaml
  sbatch --nodes 4 scripts/train_slurm.sh configs/train/shirg_x.yaml --out runs/shirg_x
END
}

check_training "$@"
[[ -n ${SLURM_JOB_NODELIST-} ]] || refuse "this is a job of SLURM; submit it: sbatch $script $*"
config=$1
shift
trap 'scontrol requeue "$SLURM_JOB_ID"' USR1
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun torchrun --nnodes "$SLURM_NNODES" --nproc-per-node 8 --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d \
  --rdzv-endpoint "$head:29500" -m scripts.train_shirg_x "$config" --resume "$@" &
wait
