"""VLMEvalKit's own run with the model in its list; VLMEvalKit is imported when the run begins."""

import json
import ssl
import sys
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from llava.eval.harness.settings import HarnessSettings

_OWN = ("--model", "--config", "--base-url", "--api-mode")
"""VLMEvalKit's options that name another model, or need one behind an address."""
_NO_RESULT = (None, "invalid_dataset", "No infer result found", "Incomplete infer result")
"""VLMEvalKit's reasons for a data set without scores that are no decision of its own; None is a failure."""


def check_words(settings: HarnessSettings, words: Sequence[str]) -> None:
    """Refuse what no run could do, before VLMEvalKit and the weights are loaded.

    Args:
        words: VLMEvalKit's options.

    Raises:
        FileNotFoundError: if there is no such checkpoint, adapter or settings file.
        ValueError: if settings or options contradict each other, or VLMEvalKit is not installed.
    """
    if settings.batch_size != 1:
        raise ValueError("VLMEvalKit asks one question after the other; leave batch_size out")
    for word in words:
        option = word.split("=", 1)[0]
        if option in _OWN:
            raise ValueError(f"{option} is for other models of VLMEvalKit; leave it out, and see --model-args")
    if not any(word.split("=", 1)[0] == "--data" for word in words):
        raise ValueError("--data is missing; name one of VLMEvalKit's data sets, such as DocVQA_VAL")
    settings.checkpoint()
    if find_spec("vlmeval") is None:
        raise ValueError("VLMEvalKit is not installed; install it, as by pip install ms-vlmeval")


def run_vlmeval(settings: HarnessSettings, name: str, words: Sequence[str]) -> list[str]:
    """Run VLMEvalKit; the data sets without a result, which VLMEvalKit itself passes over.

    Args:
        name: of the model, and of its directory of results.
        words: VLMEvalKit's options.

    Raises:
        SystemExit: if VLMEvalKit refuses its options.
    """
    # Importing VLMEvalKit makes the whole process accept any server's certificate.
    verified = ssl._create_default_https_context
    from vlmeval import run
    from vlmeval.config import supported_VLM

    ssl._create_default_https_context = verified

    from llava.eval.vlmeval.model import LavidaVlm

    supported_VLM[name] = partial(LavidaVlm, **vars(settings))
    given, sys.argv = sys.argv, ["vlmeval", *words, "--model", name]
    try:
        args = run.parse_args()
        run.run_task(args)
    finally:
        sys.argv = given
    return without_result(Path(args.work_dir) / name / "status.json", args.data) if run.RANK == 0 else []


def without_result(status: Path, data: Sequence[str]) -> list[str]:
    """Those of the data sets that VLMEvalKit has neither scores of nor a decision to go without.

    Args:
        status: its ``status.json``.
    """
    told = json.loads(status.read_text(encoding="utf-8"))["datasets"] if status.exists() else {}
    found = {each: told.get(each, {}) for each in data}
    return [name for name, each in found.items() if not each.get("metrics") and each.get("skip_reason") in _NO_RESULT]
