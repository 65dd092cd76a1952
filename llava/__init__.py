"""LaViDa: a SigLIP + LLaDA masked-diffusion vision-language model, under LaViDa's import paths.

Most programs need no more than

    from llava import Session
"""

import sys
from typing import TYPE_CHECKING

from shirg.lazy import lazy_names

if TYPE_CHECKING:
    from llava.inference.answer import Answer
    from llava.inference.session import Session

__all__ = ["Answer", "Session"]

__getattr__ = lazy_names(__name__, {"Answer": "llava.inference.answer", "Session": "llava.inference.session"})

# Where transformers is in use, LaViDa is made known to it. Otherwise that would take seconds, and import llava none.
if "transformers" in sys.modules:
    import llava.hf  # noqa: F401
