#!/usr/bin/env bash
# Train the rows of docs/results/trained_rows/settings.yaml; train_rows.sh -h says how.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/common.sh
source scripts/common.sh

usage() {
  cat <<'END'
usage: scripts/train_rows.sh [option ...]

Train the rows of docs/results/trained_rows/settings.yaml, one after the other, each from the same start; finished ones are
left alone. Paths are read from the root of the repository.

  --out-root DIR         a directory of each row goes here (default: runs/rows)
  --set NAME=VALUE ...   change settings of every row, such as trainer.max_steps=400
  --model DIR_OR_HUB_ID  the checkpoint to start from, instead of the configurations'
  --dry-run              print parameters, memory and time of every row, and train nothing; this takes --gpus,
                         --samples and --samples-per-second as `python -m scripts.train_shirg_x` does
  -h, --help             show this
END
}

root=runs/rows
options=()
while (($#)); do
  case $1 in
  -h | --help)
    usage
    exit
    ;;
  --out-root)
    need_value "$@"
    root=$2
    shift 2
    ;;
  --model | --gpus | --samples | --samples-per-second)
    need_value "$@"
    options+=("$1" "$2")
    shift 2
    ;;
  --set)
    need_value "$@"
    options+=("$1")
    shift
    while (($#)) && [[ $1 != -* ]]; do
      [[ $1 == *=* ]] || refuse "--set takes NAME=VALUE, got '$1'"
      options+=("$1")
      shift
    done
    ;;
  --dry-run)
    options+=("$1")
    shift
    ;;
  *) refuse "there is no option '$1'" ;;
  esac
done
[[ ! -e $root || -d $root ]] || refuse "--out-root $root is a file; give a directory"

row() {
  local name=$1 config=$2
  shift 2
  [[ -d $root/$name/final ]] ||
    python -m scripts.train_shirg_x "$config" --resume --out "$root/$name" "${options[@]}" "$@"
}

row full docs/results/trained_rows/train.yaml
row random docs/results/trained_rows/train.yaml --set random_selection=1
row no_coordinates docs/results/trained_rows/train.yaml --set shirg_x.coordinates=false
row no_scaffold docs/results/trained_rows/train.yaml --set shirg_x.scaffold=false
row no_scaffold_coordinates docs/results/trained_rows/train.yaml --set shirg_x.coordinates_on_scaffold=false
row no_merging docs/results/trained_rows/train.yaml --set shirg_x.merge=false
row words docs/results/trained_rows/train.yaml --set shirg_x.similarity=projected
row attention docs/results/trained_rows/train.yaml --set shirg_x.similarity=attention
row boxes docs/results/teachers/train.yaml
row looks docs/results/teachers/train.yaml --set losses.relevance_teacher=attention
row gate docs/results/teachers/train.yaml --set losses.relevance_teacher=gate
