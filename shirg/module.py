"""SHIRG-X's own weights in one module, which moving, saving and LoRA see."""

import torch
from torch import Tensor, nn

from shirg.budget import BudgetHead
from shirg.config import ShirgXConfig
from shirg.coordinates import CoordinateEmbedding


class ShirgX(nn.Module):
    """Registered as ``model.shirg_x``: coordinates, budget head, and the relevance of a source that is learned."""

    def __init__(self, config: ShirgXConfig, *, vision_dim: int, word_dim: int) -> None:
        super().__init__()
        # What is fresh starts alike every time, so that answers of a model without weights can be told again.
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            self.coordinates = CoordinateEmbedding(vision_dim, config.coordinate_dim)
            self.budget_head = BudgetHead(len(config.budgets))
            if config.source.weights is not None:
                self.relevance = config.source.weights(
                    vision_dim, word_dim, config.relevance_dim, config.relevance_heads
                )
        # SigLIP's text tower is read from SigLIP's repository, so it is not saved a second time.
        self.register_state_dict_post_hook(_drop_text_tower)


def _drop_text_tower(module: nn.Module, state: dict[str, Tensor], prefix: str, _: object) -> None:
    for key in [key for key in state if key.startswith(f"{prefix}text_tower.")]:
        del state[key]
