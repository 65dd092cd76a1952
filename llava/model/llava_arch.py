"""LaViDa's architecture around the language model: vision tower, projector, and the seam ``encode_images``.

Axis names: views (of one image), tokens (of one image, finished), dim (language width).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig

from llava.constants import IMAGE_TOKEN_INDEX
from llava.mm_utils import get_anyres_image_grid_shape
from llava.model.anyres import join_tiles, pool_views
from llava.model.multimodal_encoder.builder import build_vision_tower
from llava.model.multimodal_encoder.siglip_encoder import SigLipVisionTower
from llava.model.multimodal_projector.builder import build_vision_projector
from llava.model.splice import PromptEmbeds, check_image_count, count_images, splice_images
from llava.question import PromptIds, Question
from shirg.transfer import to_device


class LlavaMetaModel(nn.Module):
    """Adds the vision modules to a language model, under the released checkpoints' names."""

    vision_tower: SigLipVisionTower
    mm_projector: nn.Module
    embed_tokens: Callable[[Tensor], Tensor]

    def initialize_vision_modules(self, config: PretrainedConfig) -> None:
        """Build the tower, the projector and the newline token that ``config`` describes.

        Raises:
            ValueError: if the tower's width is not the one the projector was made for.
        """
        self.vision_tower = build_vision_tower(config)
        if config.mm_hidden_size != self.vision_tower.hidden_size:
            raise ValueError(
                f"config.mm_hidden_size={config.mm_hidden_size} does not match the vision tower's width "
                f"{self.vision_tower.hidden_size}; check mm_vision_tower"
            )
        self.mm_projector = build_vision_projector(config)
        if config.mm_patch_merge_type == "spatial_unpad":
            self.image_newline = nn.Parameter(torch.randn(config.hidden_size) * config.hidden_size**-0.5)

    def get_vision_tower(self) -> SigLipVisionTower:
        return self.vision_tower


class LlavaMetaForCausalLM:
    """Turns ids and images into embedded prompts; mixed into the model class."""

    config: PretrainedConfig
    prompt_ids: PromptIds

    def get_model(self) -> LlavaMetaModel:
        raise NotImplementedError

    def get_vision_tower(self) -> SigLipVisionTower:
        return self.get_model().get_vision_tower()

    def encode_images(
        self,
        views: Sequence[Tensor],
        image_sizes: Sequence[tuple[int, int]],
        questions: Sequence[Question | None] | None = None,
    ) -> list[Tensor]:
        """The seam: one finished sequence of projected tokens (tokens, dim) per image.

        LaViDa's own way: tower, projector, 2 x 2 pooling, padding removed, a newline token per row; the question is not
        read. A patch replaces this one method.

        Args:
            views: per image (views, 3, side, side), as ``process_images`` makes them.
            image_sizes: (width, height) of each original image.
        """
        model, config = self.get_model(), self.config
        tower = model.get_vision_tower()
        for index, view in enumerate(views):
            if view.ndim != 4 or tuple(view.shape[1:]) != (3, tower.image_size, tower.image_size):
                raise ValueError(
                    f"image {index} has views of shape {tuple(view.shape)}, but this model wants (views, 3, "
                    f"{tower.image_size}, {tower.image_size}); prepare it with process_images and this model's config"
                )
        features = model.mm_projector(tower(torch.cat([to_device(view, tower.device) for view in views])))
        pooled = pool_views(
            features,
            side=tower.num_patches_per_side,
            stride=config.mm_pooler_ratio,
            mode=config.mm_spatial_pool_mode,
        )
        per_image = pooled.split([len(view) for view in views])
        return [self._finish_image(grid, size) for grid, size in zip(per_image, image_sizes, strict=True)]

    def _finish_image(self, grid: Tensor, image_size: tuple[int, int]) -> Tensor:
        config, newline = self.config, getattr(self.get_model(), "image_newline", None)
        if newline is None:
            return grid.flatten(0, 2)
        if len(grid) == 1:
            return torch.cat([grid.flatten(0, 2), newline.to(grid)[None]])
        side = self.get_vision_tower().image_size
        columns, rows = get_anyres_image_grid_shape(image_size, config.image_grid_pinpoints, side)
        if len(grid) != 1 + columns * rows:
            raise ValueError(
                f"an image of {image_size[0]}x{image_size[1]} pixels needs {1 + columns * rows} views, got "
                f"{len(grid)}; pass image_sizes as (width, height) of the images that process_images was given"
            )
        return join_tiles(grid, columns=columns, rows=rows, image_size=image_size, newline=newline)

    def embed_prompts(
        self,
        prompts: Sequence[Tensor],
        images: Sequence[Tensor] = (),
        image_sizes: Sequence[tuple[int, int]] | None = None,
        questions: Sequence[Question | None] | None = None,
        labels: Sequence[Tensor] | None = None,
    ) -> PromptEmbeds:
        """Embedded prompts with the images' tokens in place of their placeholders.

        Args:
            prompts: ids of each prompt without padding, on the host; -200 stands for an image.
            images: pixel views of every image, in the order of the placeholders over all prompts.
            image_sizes: (width, height) of each original image.
            questions: one per image; cut out of its prompt's last user turn when not given.

        Raises:
            ValueError: if placeholders, images, sizes and questions do not pair up.
        """
        check_image_count(prompts, len(images))
        words = self.embed_words(prompts)
        if not len(images):
            return splice_images(prompts, words, [], labels)
        for name, values in (("image_sizes", image_sizes), ("questions", questions)):
            if values is not None and len(values) != len(images):
                raise ValueError(f"{len(images)} images but {len(values)} {name} were given; give one for each image")
        if image_sizes is None:
            raise ValueError("image_sizes is missing; give (width, height) of each image")
        if questions is None:
            questions = []
            for ids in prompts:
                questions += [self._cut_question(ids)] * count_images(ids)
        return splice_images(prompts, words, self.encode_images(images, image_sizes, questions), labels)

    def embed_words(self, prompts: Sequence[Tensor]) -> list[Tensor]:
        """Word embeddings (positions, dim) of each prompt's ids, with any embedding at the placeholders."""
        ids = torch.cat(list(prompts))
        ids = to_device(ids.masked_fill(ids == IMAGE_TOKEN_INDEX, 0), self.get_vision_tower().device)
        return list(self.get_model().embed_tokens(ids).split([len(prompt) for prompt in prompts]))

    def splice(
        self, prompts: Sequence[Tensor], sequences: Sequence[Tensor], labels: Sequence[Tensor] | None = None
    ) -> PromptEmbeds:
        """Embedded prompts with images that are encoded already, each (tokens, dim)."""
        return splice_images(prompts, self.embed_words(prompts), sequences, labels)

    def _cut_question(self, ids: Tensor) -> Question | None:
        return self.prompt_ids.cut_question(ids.tolist()) if self.prompt_ids.user_role else None
