"""Dream (arXiv 2508.15487): a bidirectional transformer of Qwen2's shape that predicts masked tokens, each from the
position before it.

The module tree gives the state-dict keys of the released checkpoints (``layers.0.self_attn.q_proj.weight``, ...).

Axis names: batch (samples), length (positions), dim (model width), vocab.
"""

from typing import ClassVar, cast

import torch.nn.functional as F
from torch import Tensor, nn

from llava.model.language_model.dream.configuration_dream import DreamConfig
from llava.model.language_model.transformer import Projections, TransformerBackbone, TransformerBlock


class DreamBlock(TransformerBlock):
    """One transformer layer: attention with grouped keys and values, then a gated MLP, each behind an RMS norm."""

    def __init__(self, config: DreamConfig) -> None:
        super().__init__()
        width, hidden = config.hidden_size, config.intermediate_size
        self.num_heads, self.num_groups = config.num_attention_heads, config.key_value_heads
        shared = width // self.num_heads * self.num_groups
        self.self_attn = nn.ModuleDict(
            {
                "q_proj": nn.Linear(width, width),
                "k_proj": nn.Linear(width, shared),
                "v_proj": nn.Linear(width, shared),
                "o_proj": nn.Linear(width, width, bias=False),
            }
        )
        self.mlp = nn.ModuleDict(
            {
                "gate_proj": nn.Linear(width, hidden, bias=False),
                "up_proj": nn.Linear(width, hidden, bias=False),
                "down_proj": nn.Linear(hidden, width, bias=False),
            }
        )
        self.input_layernorm = nn.RMSNorm(width, eps=config.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(width, eps=config.rms_norm_eps)

    @property
    def projections(self) -> Projections:
        layers = self.self_attn
        return Projections(layers["q_proj"], layers["k_proj"], layers["v_proj"], layers["o_proj"])

    @property
    def attention_norm(self) -> nn.Module:
        return self.input_layernorm

    @property
    def mlp_norm(self) -> nn.Module:
        return self.post_attention_layernorm

    def feed_forward(self, normed: Tensor) -> Tensor:
        return self.mlp["down_proj"](F.silu(self.mlp["gate_proj"](normed)) * self.mlp["up_proj"](normed))


class DreamModel(TransformerBackbone):
    """Embedding, layers and final norm. The head belongs to whatever holds this, as in released checkpoints; it is lent
    by ``set_head``."""

    config: DreamConfig
    predicts_next: ClassVar[bool] = True

    def __init__(self, config: DreamConfig) -> None:
        super().__init__()
        self.config = config
        # The row of padding, which is end-of-text too, learns nothing from being looked up.
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.layers = nn.ModuleList(DreamBlock(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self._lent_head: tuple[nn.Module, ...] = ()

    @property
    def blocks(self) -> list[DreamBlock]:
        return list(self.layers)  # type: ignore[arg-type]

    @property
    def final_norm(self) -> nn.Module:
        return self.norm

    @property
    def embedding(self) -> nn.Module:
        return cast(nn.Module, self.embed_tokens)

    def set_embedding(self, value: nn.Module) -> None:
        self.embed_tokens = value

    @property
    def head(self) -> nn.Module:
        return self._lent_head[0]

    def set_head(self, value: nn.Module) -> None:
        # In a tuple, a module is not taken for a part of this one.
        self._lent_head = (value,)

    @property
    def head_weight(self) -> Tensor:
        return cast(Tensor, self.head.weight)
