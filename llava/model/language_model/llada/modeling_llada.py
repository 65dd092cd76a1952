"""LLaDA (arXiv 2502.09992): a bidirectional transformer that predicts masked tokens.

The module tree gives the state-dict keys of the released checkpoints (``transformer.blocks.0.q_proj.weight``, ...).

Axis names: batch (samples), length (positions), dim (model width), vocab.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llava.model.language_model.llada.configuration_llada import LLaDAConfig
from llava.model.language_model.transformer import Projections, TransformerBackbone, TransformerBlock


class LLaDABlock(TransformerBlock):
    """One transformer layer: attention over all positions, then a gated MLP, each behind an RMS norm."""

    def __init__(self, config: LLaDAConfig) -> None:
        super().__init__()
        width, hidden = config.d_model, config.mlp_hidden_size
        self.num_heads = self.num_groups = config.n_heads
        self.attn_norm = nn.RMSNorm(width, eps=config.rms_norm_eps)
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.attn_out = nn.Linear(width, width, bias=False)
        self.ff_norm = nn.RMSNorm(width, eps=config.rms_norm_eps)
        self.ff_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.ff_out = nn.Linear(hidden, width, bias=False)

    @property
    def projections(self) -> Projections:
        return Projections(self.q_proj, self.k_proj, self.v_proj, self.attn_out)

    @property
    def attention_norm(self) -> nn.Module:
        return self.attn_norm

    @property
    def mlp_norm(self) -> nn.Module:
        return self.ff_norm

    def feed_forward(self, normed: Tensor) -> Tensor:
        return self.ff_out(F.silu(self.ff_proj(normed)) * self.up_proj(normed))


class LLaDAModel(TransformerBackbone):
    """Embedding, blocks, final norm and output head, without a task."""

    config: LLaDAConfig

    def __init__(self, config: LLaDAConfig) -> None:
        super().__init__()
        self.config = config
        rows = config.vocab_rows
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(rows, config.d_model),
                "blocks": nn.ModuleList(LLaDABlock(config) for _ in range(config.n_layers)),
                "ln_f": nn.RMSNorm(config.d_model, eps=config.rms_norm_eps),
            }
        )
        if not config.weight_tying:
            self.transformer["ff_out"] = nn.Linear(config.d_model, rows, bias=False)
        if config.answer_places:
            self.transformer["answer_places"] = nn.Embedding(config.answer_places, config.d_model)

    def place_embeddings(self, count: int) -> Tensor | None:
        if not self.config.answer_places:
            return None
        known = min(count, self.config.answer_places)
        # Asked as a module: engines that spread weights over processes bring them together for a call.
        told = self.transformer["answer_places"](
            torch.arange(known, device=self.embedding.get_parameter("weight").device)
        )
        return told if known == count else F.pad(told, (0, 0, 0, count - known))

    @property
    def blocks(self) -> list[LLaDABlock]:
        return list(cast(nn.ModuleList, self.transformer["blocks"]))  # type: ignore[arg-type]

    @property
    def final_norm(self) -> nn.Module:
        return self.transformer["ln_f"]

    @property
    def embedding(self) -> nn.Module:
        return self.transformer["wte"]

    def set_embedding(self, value: nn.Module) -> None:
        self.transformer["wte"] = value

    @property
    def head(self) -> nn.Module | None:
        return None if self.config.weight_tying else self.transformer["ff_out"]

    def set_head(self, value: nn.Module) -> None:
        self.transformer["ff_out"] = value

    def embed_tokens(self, ids: Tensor) -> Tensor:
        return self.transformer["wte"](ids)

    @property
    def head_weight(self) -> Tensor:
        head = self.transformer["wte"] if self.config.weight_tying else self.transformer["ff_out"]
        return cast(Tensor, head.weight)
