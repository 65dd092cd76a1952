"""LaViDa: a SigLIP + LLaDA masked-diffusion vision-language model, under LaViDa's import paths.

Most programs need no more than

    from llava import Session
"""

from importlib import import_module
from typing import TYPE_CHECKING

from llava.imports import when_imported
from shirg.lazy import lazy_names

if TYPE_CHECKING:
    from llava.inference.answer import Answer
    from llava.inference.session import Session

__all__ = ["Answer", "Session"]

__getattr__ = lazy_names(__name__, {"Answer": "llava.inference.answer", "Session": "llava.inference.session"})

# LaViDa is made known to transformers' auto classes once they are in use: to import them takes seconds, and llava none.
when_imported(
    [f"transformers.models.auto.{name}_auto" for name in ("modeling", "processing", "image_processing")],
    lambda: import_module("llava.hf"),
    own=("llava.", "shirg", "lavida_shirg_integration"),
)
