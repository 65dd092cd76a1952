"""LaViDa in transformers' own words: auto classes, processors, ``generate`` with a generation config, pipelines.

    import llava.hf
    from transformers import AutoModelForImageTextToText, AutoProcessor

Importing this package is what makes LaViDa known to transformers; no code of a checkpoint ever runs. ``import llava``
does it too, as soon as auto classes are in use, before or after.
"""

from llava.hf.generation_config import LavidaGenerationConfig
from llava.hf.image_processing import LavidaImageProcessor
from llava.hf.modeling import LlavaLladaForConditionalGeneration
from llava.hf.processing import LavidaProcessor
from llava.hf.registration import register
from llava.hf.streaming import DraftStreamer

__all__ = [
    "DraftStreamer",
    "LavidaGenerationConfig",
    "LavidaImageProcessor",
    "LavidaProcessor",
    "LlavaLladaForConditionalGeneration",
]

register()
