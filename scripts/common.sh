#!/usr/bin/env bash
# What the shell scripts share; they source it and give `usage`.

script=$0
name=$(basename "$0" .sh)

refuse() {
  printf '%s: error: %s; see %s -h\n' "$name" "$1" "$script" >&2
  exit 2
}

# need_value OPTION [VALUE ...]
need_value() {
  (($# > 1)) && [[ -n $2 && $2 != --* ]] || refuse "$1 needs a value"
}

# check_training [CONFIG] [option ...]: help for whoever asks for it, and no start without a configuration
check_training() {
  local word
  for word in "$@"; do
    case $word in
    -h | --help)
      usage
      exit
      ;;
    esac
  done
  if ((!$#)); then
    usage | sed 1q >&2
    exit 2
  fi
  [[ -f $1 ]] || refuse "there is no configuration $1"
}
