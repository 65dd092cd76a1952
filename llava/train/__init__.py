"""Training: the masked-diffusion objective."""
