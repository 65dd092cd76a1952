#!/usr/bin/env bash
# Train the rows of configs/ablations/trained_rows.yaml, one after the other, each from the same start; finished ones are left alone:
#
#   scripts/train_rows.sh
#   scripts/train_rows.sh --set trainer.max_steps=400 --out-root runs/long_rows
set -euo pipefail
cd "$(dirname "$0")/.."

root=runs/rows
options=()
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help) sed -n '2,5s/^# \{0,1\}//p' "scripts/train_rows.sh"; exit 0 ;;
        --out-root) root=${2:?"--out-root wants a directory"}; shift 2 ;;
        *) options+=("$1"); shift ;;
    esac
done

row() {
    local name=$1 config=$2
    shift 2
    [ -d "$root/$name/final" ] || python -m scripts.train_shirg_x "$config" --resume --out "$root/$name" "${options[@]}" "$@"
}

row full configs/train/small_row.yaml
row random configs/train/small_row.yaml --set random_selection=1
row no_coordinates configs/train/small_row.yaml --set shirg_x.coordinates=false
row no_scaffold configs/train/small_row.yaml --set shirg_x.scaffold=false
row no_scaffold_coordinates configs/train/small_row.yaml --set shirg_x.coordinates_on_scaffold=false
row no_merging configs/train/small_row.yaml --set shirg_x.merge=false
row words configs/train/small_row.yaml --set shirg_x.similarity=projected
row attention configs/train/small_row.yaml --set shirg_x.similarity=attention
row boxes configs/train/small_teacher.yaml
row looks configs/train/small_teacher.yaml --set losses.relevance_teacher=attention
row gate configs/train/small_teacher.yaml --set losses.relevance_teacher=gate
