#!/usr/bin/env bash
# Train as a job of SLURM; train_slurm.sh -h says how.
#SBATCH --job-name=shirg-x
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=96
#SBATCH --time=08:00:00
#SBATCH --signal=B:USR1@180
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
queue and goes on where it was. Submit it from the root of the repository; options are those of
`python -m scripts.train_shirg_x`. The job's exit code is that of the run: 0 done, 1 ended early, 2 wrong settings or data,
75 told to end (scancel, preemption) and saved.

  sbatch scripts/train_slurm.sh configs/train/shirg_x.yaml
  sbatch --nodes 4 scripts/train_slurm.sh configs/train/shirg_x.yaml --out runs/shirg_x
END
}

check_training "$@"
[[ -n ${SLURM_JOB_NODELIST-} ]] || refuse "this is a job of SLURM; submit it: sbatch $script $*"
config=$1
shift
out_of_time='' told=''
# Time is nearly up: the run saves and ends, and the job goes back into the queue.
trap 'out_of_time=yes told=yes; scancel --signal=TERM "$SLURM_JOB_ID"' USR1
# A signal to the job is one to its steps, too.
trap 'told=yes' TERM
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun --kill-on-bad-exit=1 python -m llava.train.launch --nnodes "$SLURM_NNODES" --nproc-per-node 8 \
  --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$head:29500" \
  -m scripts.train_shirg_x "$config" --resume "$@" &
steps=$!
# A signal ends the wait, but not the run.
while :; do
  told='' code=0
  wait "$steps" || code=$?
  [[ -n $told ]] || break
done
if [[ -n $out_of_time ]]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
