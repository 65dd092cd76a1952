#!/usr/bin/env bash
# ChartQA's test split through lmms-eval; eval_chartqa.sh -h says how.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/eval_lmms.sh
source scripts/eval_lmms.sh

usage() {
  cat <<'END'
usage: scripts/eval_chartqa.sh [option ...]

ChartQA's test split, all 2,500 questions, with lmms-eval: relaxed accuracy over all, over the questions of people and
over the generated ones. Paths are read from the root of the repository; --out is runs/chartqa when left out.

END
  options
}

run_benchmark chartqa runs/chartqa "$@"
