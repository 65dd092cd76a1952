"""Which device a model is on."""

from typing import Any

import torch


def find_device(device_map: str | torch.device | dict[str, Any]) -> torch.device:
    """One device of this machine, by its name; ``auto`` is the first GPU if there is one, else the CPU.

    Raises:
        ValueError: if there is no such device here, or several are named.
    """
    devices = set(device_map.values()) if isinstance(device_map, dict) else {device_map}
    if len(devices) != 1:
        raise ValueError("device_map must name one device; this model is not split over several")
    name = devices.pop()
    if name == "auto":
        name = "cuda:0" if torch.cuda.is_available() else "cpu"
    mend = f"use cpu{', or cuda' if torch.cuda.is_available() else ''}"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device '{name}' does not exist; {mend}") from error
    try:
        # Torch knows many kinds of devices; whether one is here and holds numbers shows when it is asked to.
        torch.ones(1, device=device).item()
    except Exception as error:  # each kind fails in its own way
        raise ValueError(f"device '{name}' cannot be used on this machine; {mend}") from error
    return device
