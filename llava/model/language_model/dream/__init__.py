"""Dream (arXiv 2508.15487), a masked-diffusion language model grown from a next-token one, and LaViDa around it."""
