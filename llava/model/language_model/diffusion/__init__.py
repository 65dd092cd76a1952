"""Masked-diffusion decoding over any backbone: schedules, choice of positions, the loop and its CUDA graph."""
