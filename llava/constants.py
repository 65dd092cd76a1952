"""Ids and words that prompts, labels and images share, and where the bundled files lie."""

from pathlib import Path

ASSETS = Path(__file__).parent / "assets"

IGNORE_INDEX = -100
"""Label of positions that carry no loss."""

IMAGE_TOKEN_INDEX = -200
"""Placeholder id that an image's tokens replace; never a row of the embedding."""

DEFAULT_IMAGE_TOKEN = "<image>"
"""The placeholder as users write it in a prompt."""

DEFAULT_IMAGE_PATCH_TOKEN = "<im_patch>"
DEFAULT_IM_START_TOKEN = "<im_start>"
DEFAULT_IM_END_TOKEN = "<im_end>"
"""Words that LLaVA can put around images; LaViDa's checkpoints do not use them, but its callers import the names."""

EXTRA = "lavida-shirg[eval]"
"""Installs ``datasets``."""
