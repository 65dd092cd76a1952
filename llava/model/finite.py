"""Numbers that are no numbers, found where they come in rather than in an answer."""

from collections.abc import Iterable

import torch
from torch import Tensor


@torch.no_grad()
def check_finite(tensors: Iterable[tuple[str, Tensor]], where: str) -> None:
    """Refuse weights of which one is NaN or infinite.

    Every tensor is read once and nothing is copied; the host waits once, for all of them together.

    Args:
        tensors: names and weights, of any floating-point dtype, on one device.
        where: what holds them, for the message.

    Raises:
        ValueError: naming the first such tensor and how many more there are.
    """
    held = [(name, tensor) for name, tensor in tensors if tensor.is_floating_point() and tensor.numel()]
    if not held:
        return
    extremes = torch.stack([torch.stack(tensor.aminmax()).isfinite().all() for _, tensor in held])
    broken = [name for (name, _), fine in zip(held, extremes.tolist(), strict=True) if not fine]
    if broken:
        more = f", and {len(broken) - 1} more tensors do" if len(broken) > 1 else ""
        raise ValueError(
            f"{where}: {broken[0]} holds numbers that are no numbers (NaN or infinity){more}; fetch "
            "or export it again, or load it with another dtype"
        )
