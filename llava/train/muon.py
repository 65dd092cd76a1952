"""Muon for hidden matrices and AdamW for the rest, in one optimizer.

Muon moves a matrix along its momentum with all singular values brought to about 1, by Newton-Schulz steps (Jordan and
others, https://kellerjordan.github.io/posts/muon, 2024). torch.optim.Muon rounds these steps to bfloat16, which CPUs
without bfloat16 units compute 25 times slower than float32; here they are float32.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_STEPS = 5


class Muon(torch.optim.Optimizer):
    """Groups with ``muon: True`` hold matrices and take Muon's steps, all others AdamW's.

    Args:
        groups: ``params``, ``lr``, ``muon`` and ``weight_decay`` each.
        momentum: of Muon's groups.
        betas, eps: of AdamW's groups.
    """

    def __init__(
        self,
        groups: Iterable[Mapping[str, Any]],
        *,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-8,
    ) -> None:
        settings = {"lr": 1e-3, "muon": False, "weight_decay": 0.0, "momentum": momentum, "betas": betas, "eps": eps}
        super().__init__([dict(group) for group in groups], settings)
        for group in self.param_groups:
            if group["muon"] and any(parameter.ndim != 2 for parameter in group["params"]):
                raise ValueError("Muon moves matrices only; put other parameters into a group of AdamW's")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    (self._move_matrix if group["muon"] else self._move)(parameter, parameter.grad, group)
        return loss

    def _move_matrix(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"].lerp_(gradient, 1 - group["momentum"])
        ahead = gradient.lerp(momentum, group["momentum"])
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        rows, columns = parameter.shape
        parameter.add_(orthogonalized(ahead), alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        step, (beta, gamma) = float(state["step"]), group["betas"]
        state["mean"].lerp_(gradient, 1 - beta)
        state["square"].mul_(gamma).addcmul_(gradient, gradient, value=1 - gamma)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        root = (state["square"] / (1 - gamma**step)).sqrt_().add_(group["eps"])
        parameter.addcdiv_(state["mean"], root, value=-group["lr"] / (1 - beta**step))


def make_optimizer(
    groups: Sequence[Mapping[str, Any]], *, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
) -> torch.optim.Optimizer:
    """AdamW; or Muon beside it, where a group asks for it."""
    if any(group.get("muon") for group in groups):
        return Muon(groups, betas=betas, eps=eps)
    return torch.optim.AdamW([dict(group) for group in groups], betas=betas, eps=eps)


def orthogonalized(matrix: Tensor) -> Tensor:
    """About the nearest matrix with orthonormal rows or columns: singular values between 0.7 and 1.2."""
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).float()
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(_STEPS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).to(matrix.dtype)
