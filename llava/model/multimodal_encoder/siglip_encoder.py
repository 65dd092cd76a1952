"""SigLIP (arXiv 2303.15343) as LaViDa uses it, and the dual-scale extraction that SHIRG-X adds.

LaViDa reads the features before SigLIP's last layer, without the final norm or the pooling head. Layers are
transformers' own; the module tree gives the released checkpoints' keys (``vision_tower.vision_model.encoder...``).

Axis names: batch (views), patches (row by row), dim (vision width), heads.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipEncoderLayer, SiglipMultiheadAttentionPoolingHead

from llava.image_processor import SigLipImageProcessor
from llava.model.multimodal_encoder.gathering import LABEL_HEADS, WordGathering
from llava.model.multimodal_encoder.stem import ConvStem
from shirg.config import AttentionLayer
from shirg.joining import join_views
from shirg.scaffold import dual_scale
from shirg.tiling import Grid
from shirg.tokens import GATHERED, DualScaleTokens


class SigLipVisionEmbeddings(nn.Module):
    """Patch and position embeddings, for any square grid."""

    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        self.patch_size = int(config.patch_size)
        self.grid = int(config.image_size) // self.patch_size
        stem = getattr(config, "stem_channels", None)
        self.patch_embedding: nn.Module
        if stem:
            self.patch_embedding = ConvStem(
                config.num_channels, stem, config.hidden_size, self.patch_size, getattr(config, "stem_overlap", 0)
            )
        else:
            self.patch_embedding = nn.Conv2d(
                config.num_channels, config.hidden_size, kernel_size=self.patch_size, stride=self.patch_size
            )
        self.position_embedding = nn.Embedding(self.grid**2, config.hidden_size)
        self._interpolated: tuple[tuple, Tensor] | None = None

    def positions(self, grid: int) -> Tensor:
        """Position embeddings (grid * grid, dim), interpolated when the view is not of the native size.

        The last interpolation is kept while the table does not change: a page is one size, asked many times. That is
        looked up on the host, so that what is compiled is given them.
        """
        table = self.position_embedding.weight
        if grid == self.grid:
            return table
        if torch.is_grad_enabled() and table.requires_grad:
            return self._interpolate(grid)
        state = (grid, table.data_ptr(), table._version, table.device, table.dtype)
        kept = self._interpolated
        if kept is None or kept[0] != state:
            kept = self._interpolated = (state, self._interpolate(grid).detach())
        return kept[1]

    def _interpolate(self, grid: int) -> Tensor:
        table = self.position_embedding.weight
        square = table.float().T.reshape(1, -1, self.grid, self.grid)
        resized = F.interpolate(square, size=(grid, grid), mode="bicubic", align_corners=False)
        return resized[0].flatten(1).T.contiguous().to(table.dtype)

    def forward(self, pixel_values: Tensor, positions: Tensor) -> Tensor:
        """(batch, patches, dim) of square pixel views (batch, 3, size, size) and ``positions`` of their patches."""
        patches = self.patch_embedding(pixel_values.to(self.position_embedding.weight.dtype))
        return patches.flatten(2).transpose(1, 2) + positions


class SigLipEncoder(nn.Module):
    """The stack of transformer layers."""

    def __init__(self, config: SiglipVisionConfig, num_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(SiglipEncoderLayer(config) for _ in range(num_layers))


class SigLipVisionTransformer(nn.Module):
    """SigLIP's image side: without its last layer and pooling head as LaViDa, or with them for scoring."""

    def __init__(self, config: SiglipVisionConfig, *, keep_all_layers: bool) -> None:
        super().__init__()
        self.embeddings = SigLipVisionEmbeddings(config)
        self.encoder = SigLipEncoder(config, config.num_hidden_layers - (not keep_all_layers))
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        if keep_all_layers:
            self.head = SiglipMultiheadAttentionPoolingHead(config)


class _VisionModel(nn.Module):
    """Holds the level ``vision_model`` that released keys have and transformers >= 5 dropped."""

    def __init__(self, config: SiglipVisionConfig, *, keep_all_layers: bool) -> None:
        super().__init__()
        self.vision_model = SigLipVisionTransformer(config, keep_all_layers=keep_all_layers)


class SigLipVisionTower(nn.Module):
    """The vision tower under LaViDa's names.

    Args:
        config: SigLIP's vision configuration.
        select_layer: which hidden state is returned, counted as in transformers' ``hidden_states``: -2 is the input of
            the last layer.
        keep_all_layers: keep the last layer and the pooling head; they change no feature and serve scoring only.

    Raises:
        ValueError: if ``select_layer`` names no layer before the last.
    """

    def __init__(self, config: SiglipVisionConfig, *, select_layer: int = -2, keep_all_layers: bool = False) -> None:
        super().__init__()
        config._attn_implementation = "sdpa"
        self.config = config
        self.num_layers_run = config.num_hidden_layers + 1 + select_layer if select_layer < 0 else select_layer
        self.gathered = int(getattr(config, "gathered_dim", 0))
        """Channels of each vector that ``WordGathering`` appends; 0 for none."""
        if not 1 <= self.num_layers_run < config.num_hidden_layers:
            raise ValueError(
                f"mm_vision_select_layer={select_layer} does not lie before the last of {config.num_hidden_layers} "
                "vision layers; LaViDa uses -2"
            )
        self.keep_all_layers = keep_all_layers
        self.vision_tower = _VisionModel(config, keep_all_layers=keep_all_layers)
        if self.gathered:
            if self.num_layers_run < 2 or config.num_attention_heads < len(LABEL_HEADS):
                raise ValueError(
                    f"gathered_dim needs a vision tower of two layers that run and {len(LABEL_HEADS)} heads, this one "
                    f"has {self.num_layers_run} and {config.num_attention_heads}"
                )
            self.gathering = WordGathering(config.hidden_size, self.gathered)
        self.image_processor = SigLipImageProcessor(size=(self.image_size, self.image_size))

    @property
    def transformer(self) -> SigLipVisionTransformer:
        return self.vision_tower.vision_model

    @property
    def selected_layer(self) -> SiglipEncoderLayer:
        """The layer whose output the tower gives."""
        return self._layer(self.num_layers_run - 1)

    @property
    def last_layers(self) -> tuple[SiglipEncoderLayer, SiglipEncoderLayer]:
        """The layer before the one whose output the tower gives, and that one."""
        return self._layer(max(0, self.num_layers_run - 2)), self.selected_layer

    def _layer(self, index: int) -> SiglipEncoderLayer:
        return cast(SiglipEncoderLayer, self.transformer.encoder.layers[index])

    @property
    def dtype(self) -> torch.dtype:
        return self.transformer.embeddings.position_embedding.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.transformer.embeddings.position_embedding.weight.device

    @property
    def own_size(self) -> int:
        """Channels of the layers' output."""
        return int(self.config.hidden_size)

    @property
    def hidden_size(self) -> int:
        """Channels of a feature: the layers' output, and what is gathered behind it."""
        return features_width(self.config)

    @property
    def image_size(self) -> int:
        return int(self.config.image_size)

    @property
    def patch_size(self) -> int:
        return self.transformer.embeddings.patch_size

    @property
    def num_patches_per_side(self) -> int:
        return self.transformer.embeddings.grid

    @property
    def num_patches(self) -> int:
        return self.num_patches_per_side**2

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Patch features (batch, patches, dim) of pixel views (batch, 3, size, size), in the tower's dtype."""
        return self._run(pixel_values)[1]

    def _run(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """What the selected layer is given, and what it gives."""
        pixels = pixel_values.to(self.device)
        return self.run_layers(pixels, self.transformer.embeddings.positions(pixels.shape[-1] // self.patch_size))

    def run_layers(self, pixel_values: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """From pixel views (batch, 3, size, size) and position embeddings (patches, dim) to what the selected layer is
        given, and what it gives, each (batch, patches, dim): all of the tower that is worth compiling, without breaks.
        """
        before = given = hidden = self.transformer.embeddings(pixel_values, positions)
        for layer in self.transformer.encoder.layers[: self.num_layers_run]:
            before, given, hidden = given, hidden, layer(hidden, None)
        if self.gathered:
            hidden = self.gathering(hidden, self.last_layers, (before, given))
        return given, hidden

    def extract_shirg_x_tokens(
        self,
        pixel_values: Tensor,
        *,
        grids: Sequence[Grid] | None = None,
        scaffold_factor: int = 4,
        attention_layer: AttentionLayer | None = None,
        with_values: bool = False,
    ) -> DualScaleTokens:
        """Sharp tokens and the scaffold that shows the whole page, from the square views of every image.

        672 x 672 pixels with 14-pixel patches give 2,304 sharp tokens and, pooled 4 x 4, 144 scaffold tokens. A page of
        several views has as many times more sharp tokens, each view encoded alone with the tower's own position
        embeddings, and as many scaffold tokens, each over a larger block. Boxes take the views as the whole image (a
        stretched page); padding is the caller's to subtract.

        Args:
            pixel_values: (views, 3, size, size), normalized; of each image all views, row by row.
            grids: rows and columns of patches of each image; one view each when not given.
            attention_layer: also how much attention each patch receives in the whole tower's ``last`` layer, or in the
                ``selected`` one, whose output the features are.
            with_values: also each patch's embedding in the space of SigLIP's text tower.

        Raises:
            ValueError: if a view is not square or does not divide into patches and scaffold cells, if the views do not
                tile the grids, or if scoring layers are asked of a tower that was loaded without them.
        """
        *_, height, width = pixel_values.shape
        side, rest = divmod(height, self.patch_size)
        if pixel_values.ndim != 4 or height != width or rest or side % scaffold_factor:
            raise ValueError(
                f"views of shape {tuple(pixel_values.shape)} do not divide into {self.patch_size}-pixel patches and "
                f"{scaffold_factor}x{scaffold_factor} scaffold cells; a square side must be a multiple of "
                f"{self.patch_size * scaffold_factor}"
            )
        attention = values = None
        if attention_layer == "selected":
            given, detail = self._run(pixel_values)
            attention = _attention_received(self.selected_layer, given)
        else:
            detail = self(pixel_values)
        if attention_layer == "last" or with_values:
            before_last = self._up_to_last_layer(detail[..., : self.own_size])
            if attention_layer == "last":
                attention = _attention_received(self._layer(-1), before_last)
            if with_values:
                values = self._value_embeddings(before_last)
        view, cells = (side, side), (side // scaffold_factor, side // scaffold_factor)
        pages = tuple(grids) if grids is not None else (view,) * len(detail)
        return replace(
            dual_scale(join_views(detail, pages, view=view), pages, cells),
            own_dim=self.own_size,
            attention_received=None if attention is None else join_views(attention, pages, view=view),
            value_embeddings=None if values is None else join_views(values, pages, view=view),
        )

    def _up_to_last_layer(self, features: Tensor) -> Tensor:
        if not self.keep_all_layers:
            raise ValueError(
                "this vision tower was loaded without its last layer and pooling head, which the chosen similarity "
                "needs; load the model with vision_kwargs={'keep_all_layers': True}, or choose similarity: projected"
            )
        for layer in self.transformer.encoder.layers[self.num_layers_run : -1]:
            features = layer(features, None)
        return features

    def _value_embeddings(self, hidden: Tensor) -> Tensor:
        """(batch, patches, dim): the pooling head's output if all of its attention fell on one patch."""
        hidden = self.transformer.encoder.layers[-1](hidden, None)
        head = self.transformer.head
        attention = head.attention
        width = hidden.shape[-1]
        values = F.linear(
            self.transformer.post_layernorm(hidden),
            attention.in_proj_weight[2 * width :],
            attention.in_proj_bias[2 * width :],
        )
        pooled = attention.out_proj(values)
        return pooled + head.mlp(head.layernorm(pooled))


@contextmanager
def record_input(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Fills the list with what the layer is given, (batch, patches, dim), in every pass inside the context."""
    given: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    try:
        yield given
    finally:
        hook.remove()


@torch.no_grad()
def _attention_received(layer: SiglipEncoderLayer, hidden: Tensor) -> Tensor:
    """(batch, patches) float32: mean over heads and queries of a layer's attention, of what the layer is given."""
    attention = layer.self_attn
    normed = layer.layer_norm1(hidden)
    query, key = (
        projection(normed).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2).float()
        for projection in (attention.q_proj, attention.k_proj)
    )
    received = torch.zeros(hidden.shape[:2], device=hidden.device)
    # Head by head: all heads at once would hold 340 MB an image at 2,304 patches and 16 heads.
    for head in range(attention.num_heads):
        weights = query[:, head] @ key[:, head].transpose(1, 2) / math.sqrt(attention.head_dim)
        received += weights.softmax(-1).mean(1)
    return received / attention.num_heads


def features_width(config: SiglipVisionConfig) -> int:
    """Channels of the features of a tower of this configuration."""
    return int(config.hidden_size) + len(GATHERED) * int(getattr(config, "gathered_dim", 0))


def read_vision_config(path: Path) -> SiglipVisionConfig:
    """The vision configuration of a SigLIP directory (or of a bare vision model's).

    Raises:
        FileNotFoundError: if there is no ``config.json``.
        ValueError: if it does not describe a SigLIP vision model.
    """
    if not (path / "config.json").is_file():
        raise FileNotFoundError(f"no SigLIP config at {path / 'config.json'}; check mm_vision_tower")
    settings, _ = SiglipVisionConfig.get_config_dict(path)
    settings = settings.get("vision_config", settings) if settings.get("model_type") == "siglip" else settings
    if settings.get("model_type", "siglip_vision_model") != "siglip_vision_model":
        raise ValueError(
            f"{path / 'config.json'} describes a {settings['model_type']} model, not a SigLIP vision model"
        )
    return SiglipVisionConfig(**settings)
