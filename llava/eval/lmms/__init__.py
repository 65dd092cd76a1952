"""The model as lmms-eval sees it, for benchmarks that other models are scored on: ``lmms-eval --model lavida ...``.

lmms-eval finds it by this package's entry point ``lmms_eval.models``. It reads entry points whenever it starts, for any
model, so nothing is imported here before it asks.
"""

from typing import Any

MODEL_NAME = "lavida"


def manifest() -> Any:
    """What to call the model and where its classes are, as lmms-eval's ``ModelManifest``.

    lmms-eval takes the chat class unless it is told ``--force_simple``.
    """
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(
        model_id=MODEL_NAME,
        simple_class_path="llava.eval.lmms.model.LavidaSimple",
        chat_class_path="llava.eval.lmms.model.LavidaChat",
    )
