"""Where a result came from: every result file holds this."""

import hashlib
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn


def provenance(device: torch.device) -> dict[str, Any]:
    """Commit, device and versions behind a measurement, as plain values for JSON."""
    return {
        "commit": _commit(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def digest_weights(model: nn.Module) -> str:
    """A digest of all tensors of a model, by name, type and every byte; two models with the same one answer alike."""
    digest = hashlib.sha256()
    # What a module saves, and parts that it reads from elsewhere, such as SigLIP's text tower.
    tensors = {**dict(model.named_parameters()), **model.state_dict()}
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _commit() -> str:
    """The commit of the source tree, with a mark if it was changed; ``unknown`` outside a checkout."""
    root = Path(__file__).parent.parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("-changed" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
