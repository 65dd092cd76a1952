"""LLaDA: the masked-diffusion language model and its decoding."""
