#!/usr/bin/env bash
# DocVQA through lmms-eval; eval_docvqa.sh -h says how.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/eval_lmms.sh
source scripts/eval_lmms.sh

usage() {
  cat <<'END'
usage: scripts/eval_docvqa.sh [val | test] [option ...]

DocVQA with lmms-eval: ANLS over the validation split, all 5,349 questions (the default); or the answers to the test
split, 5,188 questions, in the form that its server takes. Paths are read from the root of the repository; --out is
runs/docvqa_val or runs/docvqa_test when left out.

END
  options
}

split='val'
case ${1-} in
val | test) split=$1 && shift ;;
esac
run_benchmark "docvqa_$split" "runs/docvqa_$split" "$@"
