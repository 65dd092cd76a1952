"""Which checkpoint an adapter belongs to: told by its tensors' names and shapes, and by a sample of their values.

The released LaViDa checkpoints share every name and shape, so only values tell one from another.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SAMPLES = 8
"""Numbers sampled of each tensor."""


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """A checkpoint, recognizable again.

    Raises:
        TypeError: if a part is no text.
    """

    name: str
    """Directory or hub id, for people."""
    shapes: str
    """Digest of names and shapes."""
    values: str | None
    """Digest of sampled values, rounded to bfloat16; None where the values could not be told, as on the meta device."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not isinstance(self.shapes, str):
            raise TypeError(f"a fingerprint needs texts, got {self.name!r} and {self.shapes!r}")
        if self.values is not None and not isinstance(self.values, str):
            raise TypeError(f"a fingerprint's values must be a text, got {self.values!r}")

    @classmethod
    def of(
        cls, state: Mapping[str, Tensor], *, vision_layers: int, trained: Collection[str] = (), name: str = ""
    ) -> Fingerprint:
        """The fingerprint of a checkpoint's tensors.

        Args:
            state: its tensors under the released names; SHIRG-X's and the scoring layers of the tower are left out,
                since a checkpoint may be loaded with or without them.
            vision_layers: layers of the whole tower, with the last one, which LaViDa leaves out.
            trained: tensors that training has changed, whose values tell nothing.
            name: directory or hub id.
        """
        shapes = {key: list(tensor.shape) for key, tensor in state.items()}
        kept = [state[key] for key in sorted(_base_names(state, vision_layers)) if key not in trained]
        return cls(name=name, shapes=digest_shapes(shapes, vision_layers=vision_layers), values=_digest_values(kept))

    def check(self, found: Fingerprint, what: str) -> None:
        """Refuse a base that is not this one; ``what`` was trained on this one.

        Raises:
            ValueError: naming both.
        """
        self.check_shapes(found.shapes, found.name, what)
        if None not in (self.values, found.values) and self.values != found.values:
            raise ValueError(
                f"{what} was trained on {self.name or 'another checkpoint'}, which has other weights than "
                f"{found.name or 'this model'}; load the model it was trained on"
            )

    def check_shapes(self, shapes: str, name: str, what: str) -> None:
        """As ``check``, where only names and shapes are known.

        Raises:
            ValueError: naming both.
        """
        if self.shapes != shapes:
            raise ValueError(
                f"{what} was trained on {self.name or 'another checkpoint'}, whose tensors have other names or sizes "
                f"than those of {name or 'this model'}; load the model it was trained on"
            )


def digest_shapes(shapes: Mapping[str, Sequence[int]], *, vision_layers: int) -> str:
    """A digest of the base's names and shapes, as in ``Fingerprint.shapes``."""
    lines = [[name, list(shapes[name])] for name in sorted(_base_names(shapes, vision_layers))]
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def _base_names(names: Collection[str], vision_layers: int) -> list[str]:
    left_out = re.compile(rf"shirg_x\.|.*\.vision_model\.(head|encoder\.layers\.{vision_layers - 1})\.")
    return [name for name in names if not left_out.match(name)]


def _digest_values(tensors: Sequence[Tensor]) -> str | None:
    import torch

    # From float32 to float16 to bfloat16 rounds twice, so a base loaded in float16 cannot be told from its values.
    if any(tensor.is_meta or tensor.dtype == torch.float16 for tensor in tensors):
        return None
    digest = hashlib.sha256()
    for tensor in tensors:
        flat = tensor.detach().flatten()
        digest.update(_rounded(flat[:: max(1, len(flat) // SAMPLES)][:SAMPLES]))
    return digest.hexdigest()


def _rounded(sample: Tensor) -> bytes:
    import torch

    return sample.to(torch.bfloat16).cpu().view(torch.int16).numpy().tobytes()
