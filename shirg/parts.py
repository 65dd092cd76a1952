"""What SHIRG-X's own weights are called on disk."""

WEIGHTS_FILE = "shirg_x.safetensors"
SETTINGS_FILE = "shirg_x.json"
FORMAT_VERSION = 1

PARTS = ("coordinates", "budget_head", "relevance")
"""What the weights are made of: the first word of their tensors' names."""
