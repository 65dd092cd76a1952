"""How answers are denoised unless somebody wants it otherwise."""

from llava.model.language_model.diffusion.decoding import DecodingConfig

DECODING = DecodingConfig(max_new_tokens=32, schedule="shift", prefix_lm=True, stop_at_end_of_turn=True)
"""Short answers from a cached prompt."""
