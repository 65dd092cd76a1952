#!/usr/bin/env bash
# What eval_chartqa.sh and eval_docvqa.sh share; they source it and give `usage`.

# shellcheck source=scripts/common.sh
source scripts/common.sh

options() {
  cat <<'END'
  --model DIR_OR_HUB_ID   the checkpoint (default: the bundled one)
  --adapter DIR           an adapter, merged while loading
  --budget K              detail tokens of SHIRG-X, or auto (default: what the settings say)
  --shirg FILE            SHIRG-X's settings, a YAML file
  --stock                 LaViDa's own encoding in place of SHIRG-X
  --tokens N              answer positions in place of the task's
  --batch-size N          questions denoised together, per GPU (default: 8)
  --gpus N                as many processes, each with a copy of the model (default: 1)
  --cpu                   one process without a GPU
  --limit N               only the first N questions; a score of these is no result
  --out DIR               where results and every answer are written
  -h, --help              show this
  -- OPTION ...           the rest goes to lmms-eval, such as -- --gen_kwargs steps=16

The data come from the Hugging Face hub: lmms-eval asks for `hf auth login` once. A wrong option ends with exit code 2,
a run without a result with 1.
END
}

is_number() {
  [[ $1 =~ ^[1-9][0-9]*$ ]]
}

# run_benchmark TASK OUT [option ...]
run_benchmark() {
  local task=$1 out=$2 budget='' mode='' limit='' gpus=1 cpu='' given=''
  local -a arguments=() rest=() launch=()
  shift 2
  local batch_size=8
  while (($#)); do
    case $1 in
    --model | --adapter | --budget | --shirg | --tokens | --batch-size | --gpus | --limit | --out)
      need_value "$@"
      ;;&
    --tokens | --batch-size | --gpus | --limit)
      is_number "$2" || refuse "$1 must be a whole number of at least 1, got '$2'"
      ;;&
    --model) arguments+=("pretrained=$2") && shift 2 ;;
    --adapter) arguments+=("adapter=$2") && shift 2 ;;
    --budget) budget=$2 && shift 2 ;;
    --shirg) arguments+=("shirg=$2") && shift 2 ;;
    --tokens) arguments+=("tokens=$2") && shift 2 ;;
    --batch-size) batch_size=$2 && shift 2 ;;
    --gpus) gpus=$2 given=yes && shift 2 ;;
    --limit) limit=$2 && shift 2 ;;
    --out) out=$2 && shift 2 ;;
    --stock) mode=stock && shift ;;
    --cpu) cpu=yes && shift ;;
    -h | --help)
      usage
      exit
      ;;
    --)
      shift
      rest=("$@")
      break
      ;;
    *) refuse "there is no option '$1'" ;;
    esac
  done
  if [[ -n $budget ]]; then
    [[ $budget == auto || $budget == question ]] || is_number "$budget" ||
        refuse "--budget must be auto, question or a whole number, got '$budget'"
    arguments+=("budget=$budget")
  fi
  [[ -z $cpu || -z $given ]] || refuse '--cpu and --gpus exclude each other'
  [[ ! -e $out || -d $out ]] || refuse "--out $out is a file; give a directory"
  if [[ -n $mode ]]; then arguments+=("mode=$mode"); fi
  if [[ -n $cpu ]]; then
    arguments+=(device=cpu)
    launch=(--cpu)
    gpus=0
  fi
  if [[ -n $limit ]]; then rest=(--limit "$limit" "${rest[@]}"); fi
  if ((gpus > 1)); then launch+=(--multi_gpu); fi
  local joined
  joined=$(IFS=, && printf '%s' "${arguments[*]}")
  python -m scripts.check_lmms "$joined" --gpus "$gpus" --name "$name"

  # lmms-eval tells of a failure by a traceback and exit code 0, so what it wrote decides.
  mkdir -p "$out"
  local start
  start=$(mktemp)
  # shellcheck disable=SC2064 # the name is known now and gone when the trap runs
  trap "rm -f '$start'" EXIT
  accelerate launch --num_processes "$((gpus > 0 ? gpus : 1))" --num_machines 1 --mixed_precision no \
    --dynamo_backend no "${launch[@]}" -m lmms_eval --model lavida --model_args "$joined" --tasks "$task" \
    --batch_size "$batch_size" --output_path "$out" --log_samples "${rest[@]}"
  if [[ -z $(find "$out" -name '*_results.json' -newer "$start" -print -quit) ]]; then
    printf '%s: error: lmms-eval wrote no result; its message stands above\n' "$name" >&2
    exit 1
  fi
}
