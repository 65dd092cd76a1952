"""A small model in the released format, ready to be trained from scratch.

Four choices of first weights matter where data and time are short. Patch filters start as whitened principal components
of drawn pages, so that a faint edge is as visible to the first layer as a block of color; random filters drown it.
Position embeddings start as smooth waves, so that a tower trained on one grid knows its way on another. Words'
embeddings start as what they are spelled with (``word_codes``). Attention of the language model starts by passing on
what it looks at, and its head with the embedding's rows: once it looks at a word, it can say it, and need not learn
that anew for every word.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from llava.conversation import SYSTEM
from llava.image_processor import SigLipImageProcessor
from llava.mm_utils import single_view
from llava.model.language_model.llada.modeling_llada import LLaDAModel
from llava.model.language_model.llava_llada import LlavaLladaConfig, LlavaLladaForMaskedDiffusion
from llava.pages import COLORS, FAMILIES, SHAPES, STYLES, draw_page
from llava.pages.characters import CHARACTERS, PLAIN
from llava.pages.lexicon import SHORT, TOPICS
from llava.train.word_codes import spelled_embeddings
from shirg.settings import Settings
from shirg.tokens import GATHERED

SPECIAL: Mapping[str, str] = {
    "eos_token_id": "<|endoftext|>",
    "bos_token_id": "<|startoftext|>",
    "mask_token_id": "<|mdm_mask|>",
    "infill_token_id": "<|reserved_token_0|>",
    "start_header_id": "<|start_header_id|>",
    "end_header_id": "<|end_header_id|>",
    "eot_token_id": "<|eot_id|>",
}
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n{{ message['content'] | trim }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
PATCH = 14
_PERIODS = (2.5, 4.0, 7.0, 12.0, 20.0, 40.0)


@dataclass(frozen=True, kw_only=True)
class SmallModelConfig(Settings):
    """Sizes of a small model; the ids, the position table and the layers' kinds are the released model's.

    Raises:
        ValueError: if a size is not positive, or a width does not divide into heads.
    """

    width: int = 192
    """Of the vision tower and the language model."""
    heads: int = 3
    vision_heads: int | None = None
    """As many as ``heads`` when not given."""
    vision_layers: int = 6
    stem: tuple[int, ...] = (16, 32)
    """Channels of the convolutions before the patches; none for a plain patch embedding."""
    stem_overlap: int = 3
    """Pixels of the halved picture that a patch sees beyond its border."""
    gathers: bool = False
    """Whether the tower gathers for each patch its word and its labels, in the language model's words."""
    answer_places: int = 0
    """Places of an answer that are told apart by embeddings of their own."""
    language_layers: int = 4
    vision_mlp: int = 512
    language_mlp: int = 512
    vocabulary: int = 1536
    """Most tokens, bytes and special words included."""
    seed: int = 20260101

    def __post_init__(self) -> None:
        object.__setattr__(self, "stem", tuple(self.stem))
        if self.vision_heads is None:
            object.__setattr__(self, "vision_heads", self.heads)
        for name in ("width", "heads", "vision_heads", "language_layers", "vision_mlp", "language_mlp"):
            self.check_count(name, 1)
        self.check_count("vision_layers", 2)
        self.check_switch("gathers")
        self.check_count("stem_overlap", 0)
        self.check_count("answer_places", 0)
        self.check_count("vocabulary", 300)
        self.check_count("seed", 0)
        if self.width % (4 * self.heads):
            raise ValueError(f"width must be a multiple of 4 * heads, got {self.width} and {self.heads}")
        if self.width % (self.vision_heads or self.heads):
            raise ValueError(f"width must be a multiple of vision_heads, got {self.width} and {self.vision_heads}")
        if self.width > 3 * PATCH**2:
            raise ValueError(f"width must be at most {3 * PATCH**2}, the numbers in a patch, got {self.width}")


def create_model(
    config: SmallModelConfig, tokenizer: PreTrainedTokenizerFast, pages: Sequence[Tensor]
) -> LlavaLladaForMaskedDiffusion:
    """The model with its first weights.

    Args:
        pages: views (1, 3, side, side) of drawn pages, from which the patch filters start.
    """
    ids = {name: tokenizer.convert_tokens_to_ids(word) for name, word in SPECIAL.items()}
    # The caller's own chance stays as it was.
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(config.seed)
        model = LlavaLladaForMaskedDiffusion(
            LlavaLladaConfig(
                d_model=config.width,
                n_heads=config.heads,
                n_layers=config.language_layers,
                mlp_hidden_size=config.language_mlp,
                vocab_size=len(tokenizer),
                answer_places=config.answer_places,
                pad_token_id=ids["eos_token_id"],
                **ids,
                mm_hidden_size=config.width * (1 + len(GATHERED) * config.gathers),
                mm_vision_tower="./siglip",
                mm_vision_config={
                    "model_type": "siglip_vision_model",
                    "hidden_size": config.width,
                    "intermediate_size": config.vision_mlp,
                    "num_hidden_layers": config.vision_layers,
                    "num_attention_heads": config.vision_heads,
                    "stem_channels": list(config.stem),
                    "stem_overlap": config.stem_overlap,
                    "gathered_dim": config.width * config.gathers,
                    "image_size": 384,
                    "patch_size": PATCH,
                },
                mm_keep_all_layers=True,
            )
        )
        for module in model.modules():
            if isinstance(module, nn.Linear):
                # transformers' 0.02 suits widths near 768; at 128 attention would start, and long stay, uniform.
                nn.init.normal_(module.weight, std=0.7 * module.in_features**-0.5)
        language = model.get_model()
        assert isinstance(language, LLaDAModel)
        for block in language.blocks:
            nn.init.orthogonal_(block.v_proj.weight)
            block.attn_out.weight.copy_(0.7 * block.v_proj.weight.T)
        embedding = language.transformer["wte"].get_parameter("weight")
        nn.init.normal_(embedding, std=0.3)
        codes = spelled_embeddings(_spellings(tokenizer), config.width, torch.Generator().manual_seed(config.seed))
        embedding[: len(codes)] = 0.3 * config.width**0.5 * codes
        language.head_weight.copy_(0.3 * embedding)
        if config.answer_places:
            places = language.transformer["answer_places"].get_parameter("weight")
            places.copy_(0.1 * place_codes(config.answer_places, config.width))
        embeddings = model.get_vision_tower().vision_tower.vision_model.embeddings
        if isinstance(embeddings.patch_embedding, nn.Conv2d):
            filters, bias = whitened_filters(torch.cat(list(pages)), config.width)
            embeddings.patch_embedding.weight.copy_(filters)
            assert embeddings.patch_embedding.bias is not None
            embeddings.patch_embedding.bias.copy_(bias)
        embeddings.position_embedding.weight.copy_(0.5 * wave_positions(embeddings.grid, config.width))
    return model


def place_codes(count: int, dim: int) -> Tensor:
    """(count, dim): sines and cosines of places in an answer, of six periods, turned at random; near ones are alike."""
    turns = 2 * math.pi * torch.arange(count)[:, None] / torch.tensor(_PERIODS)
    return torch.cat([turns.sin(), turns.cos()], dim=1) @ torch.randn(2 * len(_PERIODS), dim)


def _spellings(tokenizer: PreTrainedTokenizerFast) -> list[str | None]:
    """What each token stands for; None for special ones and for bytes that are no characters."""
    special = set(tokenizer.all_special_ids)
    texts = [str(tokenizer.decode([token])) for token in range(len(tokenizer))]
    return [None if token in special or "\ufffd" in text else text for token, text in enumerate(texts)]


def wave_positions(grid: int, dim: int) -> Tensor:
    """(grid * grid, dim) sines and cosines of both coordinates, of half a period to 8 periods across the page."""
    centers = (torch.arange(grid) + 0.5) / grid
    frequencies = math.pi * 2 ** torch.linspace(0, 4, dim // 4)
    y, x = torch.meshgrid(centers, centers, indexing="ij")
    angles = [axis.flatten()[:, None] * frequencies for axis in (x, y)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)


def whitened_filters(views: Tensor, count: int, *, floor: float = 0.05, gain: float = 0.7) -> tuple[Tensor, Tensor]:
    """Patch filters (count, 3, 14, 14) and biases (count,): principal components of patches, scaled to equal spread.

    Blank patches count little: most of a page is paper. The components are mixed by a random rotation, since each
    channel should carry some of everything.

    Args:
        views: (batch, 3, side, side) pixel views.
        floor: added to every component's variance, so that noise is not blown up.
    """
    patches = F.unfold(views.double(), PATCH, stride=PATCH).transpose(1, 2).flatten(0, 1)
    inked = patches.std(1) > 0.1
    patches = torch.cat([patches[inked], patches[~inked][: int(inked.sum()) // 4]])
    mean = patches.mean(0)
    variances, components = torch.linalg.eigh(torch.cov((patches - mean).T))
    variances, components = variances.flip(0)[:count], components.flip(1)[:, :count]
    rotation, _ = torch.linalg.qr(torch.randn(count, count, dtype=torch.float64))
    filters = gain * rotation @ (components / (variances + floor).sqrt()).T
    return filters.float().unflatten(1, (3, PATCH, PATCH)), -(filters @ mean).float()


def build_tokenizer(texts: Sequence[str], size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with LLaDA's special words; digits stay apart, so that numbers are read one by one.

    The names of shapes and colors, and the words of typed pages, are taught often enough to become single
    tokens, with and without a space in front; names of fields also as questions write them, in lower case.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    names = [form for name in (*SHAPES, *COLORS, *TOPICS, *SHORT.words) for form in (name, f" {name}")]
    names += [f" {name.lower()}" for name in SHORT.fields]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[AddedToken(word, special=True, normalized=False) for word in SPECIAL.values()],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    often = max(1, len(texts) // 50)
    # Letters with accents and signs are several bytes, and are spelled as one token each.
    letters = CHARACTERS[len(PLAIN) :]
    words = [SYSTEM, "user", "assistant", "system", *names, *letters]
    tokenizer.train_from_iterator([*texts, *(words * often)], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=SPECIAL["bos_token_id"],
        eos_token=SPECIAL["eos_token_id"],
        pad_token=SPECIAL["eos_token_id"],
        mask_token=SPECIAL["mask_token_id"],
        chat_template=CHAT_TEMPLATE,
    )


def drawn_views(model_side: int, style: str, pages: int) -> list[Tensor]:
    """Views (1, 3, side, side) of the first training pages of every family, as SigLIP's preprocessing makes them."""
    processor = SigLipImageProcessor(size=(model_side, model_side))
    return [
        single_view(draw_page(family, "train", 0, index, STYLES[style]).image, processor, model_side, pad=False)
        for family in FAMILIES
        for index in range(pages)
    ]


def page_texts(families: Sequence[str], styles: Sequence[str], pages: int) -> list[str]:
    """Questions and answers of the first training pages, for a tokenizer to learn its words from."""
    texts = []
    for family in families:
        for style in styles:
            for index in range(pages):
                for question in draw_page(family, "train", 0, index, STYLES[style]).questions:
                    texts += [question.question, question.answer]
    return texts
