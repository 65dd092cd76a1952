"""Adapters in peft's own format, for programs that know nothing of this package's.

The directory then holds ``adapter_config.json`` and ``adapter_model.safetensors``, which ``PeftModel.from_pretrained``
reads, and SHIRG-X's weights in their own format, which ``apply_shirg_x(weights=...)`` reads: LoRA on a part of SHIRG-X
needs SHIRG-X on the model first.
"""

import shutil
from pathlib import Path

from safetensors.torch import save_file

from llava.tuning.parameters import lora_config
from llava.tuning.settings import AdapterSettings
from shirg.parts import SETTINGS_FILE, WEIGHTS_FILE

_TENSORS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
"""What a ``PeftModel`` puts before the names of the model inside."""


def export_peft(adapter: str | Path, out: str | Path) -> None:
    """Write an adapter of ``save_adapter`` once more, as peft stores adapters.

    Raises:
        FileNotFoundError: if there is no such adapter, or a part of it is missing.
        ValueError: if it is broken, or was trained without LoRA.
        ModuleNotFoundError: if peft is not installed.
    """
    settings, out = AdapterSettings.read(adapter), Path(out)
    if not settings.trainable.uses_lora:
        raise ValueError(
            f"the adapter {settings.directory} has no LoRA (scope {settings.trainable.scope!r}), which is all that "
            "peft would read; load it with load_adapter"
        )
    tensors = settings.read_tensors()
    first = ".lora_A.weight"
    ranks = {name.removesuffix(first): len(tensor) for name, tensor in tensors.items() if name.endswith(first)}
    config = lora_config(ranks, settings.trainable)
    config.base_model_name_or_path = settings.base.name
    out.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(out)
    save_file({f"{_PREFIX}{name}": tensor for name, tensor in tensors.items()}, out / _TENSORS, {"format": "pt"})
    if settings.shirg_x is not None:
        for name in (SETTINGS_FILE, WEIGHTS_FILE):
            shutil.copyfile(settings.directory / name, out / name)
