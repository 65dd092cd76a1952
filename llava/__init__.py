"""LaViDa: a SigLIP + LLaDA masked-diffusion vision-language model, under LaViDa's import paths."""
