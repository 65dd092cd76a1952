"""transformers' training settings, told without importing transformers: their names, and which of them work here."""

import ast
from collections.abc import Collection, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

_RATES = "give trainable: learning_rates, by group"
_DECAY = "give trainable: weight_decay"
_OPTIMIZER = "the optimizer is AdamW, or trainable: muon"
_ASKED = "validation answers questions and has no loss of its own"
_BEST = "the best model is kept in OUT/best, by the first of validation_budgets"
_PUSH = "nothing is pushed; `hf upload` takes OUT/best"
_OWN_LOSS = "the losses are those of the section losses"
_LENGTH = "samples are drawn at random, or in order with train_sampling_strategy: sequential"
_SCRIPT = "say it on the command line: lavida train SETTINGS [--resume]"

WITHOUT_EFFECT: Mapping[str, str] = MappingProxyType(
    {
        "learning_rate": _RATES,
        "weight_decay": _DECAY,
        **dict.fromkeys(("optim", "optim_args", "optim_target_modules"), _OPTIMIZER),
        "label_smoothing_factor": _OWN_LOSS,
        "average_tokens_across_devices": "answer tokens are always counted over all processes",
        **dict.fromkeys(("use_liger_kernel", "liger_kernel_config"), "Liger's kernels know no model of this kind"),
        "neftune_noise_alpha": _OWN_LOSS,
        "use_cache": "training keeps no cache",
        "include_num_input_tokens_seen": "answer tokens a second are always logged",
        **dict.fromkeys(
            (
                *("bf16_full_eval", "fp16_full_eval", "per_device_eval_batch_size", "prediction_loss_only"),
                *("eval_do_concat_batches", "eval_use_gather_object", "eval_accumulation_steps"),
                *("include_for_metrics", "batch_eval_metrics"),
            ),
            _ASKED,
        ),
        **dict.fromkeys(("load_best_model_at_end", "metric_for_best_model", "greater_is_better"), _BEST),
        **dict.fromkeys(
            (
                *("push_to_hub", "hub_token", "hub_private_repo", "hub_model_id", "hub_strategy"),
                *("hub_always_push", "hub_revision"),
            ),
            _PUSH,
        ),
        "length_column_name": _LENGTH,
        **dict.fromkeys(("do_train", "do_eval", "do_predict", "resume_from_checkpoint"), _SCRIPT),
        "local_rank": "torchrun says which process is which",
        "logging_nan_inf_filter": "steps that are no numbers end the run; see max_bad_steps",
        "enable_jit_checkpoint": "SIGTERM always saves",
        "label_names": "batches carry their own labels",
        "remove_unused_columns": "batches have no columns",
        "activation_checkpointing_kwargs": "give gradient_checkpointing, outside of trainer",
        "gradient_checkpointing_kwargs": "give gradient_checkpointing, outside of trainer",
    }
)
"""Settings of transformers' trainer that nothing here reads, or that are settled, and what to say in their place."""

UNSUPPORTED: Mapping[str, str] = MappingProxyType(
    {
        "fp16": "float16 overflows where bfloat16 does not; set bf16: true",
        "auto_find_batch_size": "a resumed run must know its batch; set per_device_train_batch_size",
        "parallelism_config": "batches are not cut along their sequences; use more processes",
        **dict.fromkeys(("fsdp", "fsdp_config"), "use DeepSpeed's ZeRO: configs/deepspeed/zero3.json"),
    }
)
"""Settings that would change what is computed without anybody having tested it."""

WORDS_FOR_NO = ("eval_strategy", "save_strategy", "logging_strategy")
"""Settings that know the word ``no``, which YAML reads as false."""


@cache
def _described() -> Mapping[str, str]:
    """The fields of transformers' ``TrainingArguments`` and their types in words.

    They are read off its source: importing it takes seconds, which nobody should wait for to be told of a misspelling.
    """
    package = find_spec("transformers")
    assert package is not None
    assert package.origin is not None
    source = Path(package.origin).with_name("training_args.py").read_text(encoding="utf-8")
    (described,) = (
        node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == "TrainingArguments"
    )
    return {
        node.target.id: ast.unparse(node.annotation)
        for node in described.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def trainer_settings() -> frozenset[str]:
    """The fields of transformers' ``TrainingArguments``."""
    return frozenset(_described())


def read_trainer(settings: Mapping[str, Any], *, own: Collection[str], unread: Mapping[str, str]) -> dict[str, Any]:
    """The settings as transformers' trainer takes them, where YAML reads them otherwise: ``no`` is a word there.

    Args:
        own: settings that the configuration has itself, under other names.
        unread: settings that this kind of run does not read, and what to say in their place.

    Raises:
        ValueError: for a setting that the trainer does not have, that is the configuration's own, that nothing reads,
            or whose value is of another kind.
    """
    known = _described()
    if unknown := sorted(set(settings) - (set(known) - set(own))):
        raise ValueError(f"trainer: unknown setting {unknown[0]!r}; see transformers' TrainingArguments")
    for name in sorted(settings):
        if name in unread and settings[name] is not None:
            raise ValueError(f"trainer: {name} has no effect here; {unread[name]}")
        # Turned off as it is by default, it asks for nothing.
        if name in UNSUPPORTED and settings[name]:
            raise ValueError(f"trainer: {name} is not supported; {UNSUPPORTED[name]}")
    read = dict(settings)
    for name in WORDS_FOR_NO:
        if read.get(name) is False:
            read[name] = "no"
    if read.get("save_strategy") == "best":
        raise ValueError(f"trainer: save_strategy: best has no effect here; {_BEST}")
    if read.get("train_sampling_strategy", "random") not in ("random", "sequential"):
        raise ValueError(f"trainer: train_sampling_strategy must be random or sequential; {_LENGTH}")
    for name, value in read.items():
        kinds = {kind.strip() for kind in known[name].split("|")}
        if isinstance(value, str) and kinds <= {"int", "float", "bool", "None"}:
            number = "; YAML reads 1.0e-3 as a number, 1e-3 not" if kinds & {"int", "float"} else ""
            raise ValueError(f"trainer: {name} must be {' or '.join(sorted(kinds))}, got the text {value!r}{number}")
    return read
