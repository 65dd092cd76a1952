"""Makes LaViDa known to transformers' auto classes and pipelines."""

from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from llava.hf.image_processing import LavidaImageProcessor
from llava.hf.modeling import MODELS
from llava.hf.processing import LavidaProcessor


def register() -> None:
    """Register every backbone's config with its model and with the processors; doing it again changes nothing."""
    for kind in MODELS.values():
        config = kind.config_class
        AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoModelForImageTextToText.register(config, kind, exist_ok=True)
        AutoImageProcessor.register(config, image_processor_classes={"pil": LavidaImageProcessor}, exist_ok=True)
        AutoProcessor.register(config, LavidaProcessor, exist_ok=True)
        # Pipelines look for the name of a class and not for the class.
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES[config.model_type] = kind.__name__
