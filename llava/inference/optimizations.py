"""What a loaded model trades for speed or memory, chosen once when a session opens."""

from dataclasses import dataclass
from typing import Literal, get_args

from llava.model.language_model.lavida import LavidaForMaskedDiffusion

Weights = Literal["loaded", "int8"]


@dataclass(frozen=True, kw_only=True)
class Optimizations:
    """None by default; each costs something, which its page in the documents measures.

    Raises:
        ValueError: naming the setting that is wrong and what it must be.
    """

    compile: bool = False
    """Compile the layers of the vision tower and of the language model while the first page and answer are computed,
    which takes minutes on a CPU."""
    weights: Weights = "loaded"
    """``int8`` keeps the language model's matrices in one byte a weight: less memory, and answers that may differ."""

    def __post_init__(self) -> None:
        if self.weights not in get_args(Weights):
            raise ValueError(f"weights {self.weights!r} do not exist; use one of {', '.join(get_args(Weights))}")

    def apply(self, model: LavidaForMaskedDiffusion) -> None:
        """Change a loaded model, whose adapter is merged.

        Raises:
            ValueError: as ``quantize_language_model`` and ``compile_layers``.
        """
        # Neither is imported for a model that wants neither.
        if self.weights == "int8":
            from llava.model.int8 import quantize_language_model

            quantize_language_model(model)
        if self.compile:
            from llava.model.compiling import compile_layers

            compile_layers(model)


AS_LOADED = Optimizations()
