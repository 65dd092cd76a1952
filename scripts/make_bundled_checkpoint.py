"""Write the small checkpoint that `lavida` uses by default, with random weights from a fixed seed.

    python -m scripts.make_bundled_checkpoint llava/assets/lavida-small

The format, the architecture and the ids' names are those of the released checkpoints; the sizes are small enough to
travel with the package. It holds all vision layers and SHIRG-X's weights. It is untrained, and its config.json says so.
"""

import argparse
import json
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lavida_shirg_integration import apply_shirg_x
from llava.conversation import SYSTEM
from llava.model.language_model.llava_llada import LlavaLladaConfig, LlavaLladaForMaskedDiffusion
from shirg import ShirgXConfig

SEED = 20260101
LARGEST_VOCABULARY = 768
SPECIAL = {
    "eos_token_id": "<|endoftext|>",
    "bos_token_id": "<|startoftext|>",
    "mask_token_id": "<|mdm_mask|>",
    "infill_token_id": "<|reserved_token_0|>",
    "start_header_id": "<|start_header_id|>",
    "end_header_id": "<|end_header_id|>",
    "eot_token_id": "<|eot_id|>",
}
VISION = {
    "hidden_size": 192,
    "intermediate_size": 768,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "image_size": 384,
    "patch_size": 14,
}
LANGUAGE = {"d_model": 192, "n_heads": 4, "n_layers": 4, "mlp_hidden_size": 512}
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n{{ message['content'] | trim }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


def build_tokenizer(corpus: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with LLaDA's special words; digits stay apart, so that numbers are read one by one."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(word, special=True, normalized=False) for word in SPECIAL.values()]
    trainer = trainers.BpeTrainer(
        vocab_size=LARGEST_VOCABULARY,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=SPECIAL["bos_token_id"],
        eos_token=SPECIAL["eos_token_id"],
        pad_token=SPECIAL["eos_token_id"],
        mask_token=SPECIAL["mask_token_id"],
        chat_template=CHAT_TEMPLATE,
    )


def page_texts(pages: Path) -> list[str]:
    """The questions and answers about the bundled pages."""
    entries = json.loads(pages.read_text())
    return [entry[key] for entry in entries for key in ("question", "answer")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pages", type=Path, default=Path("llava/assets/pages/pages.json"))
    args = parser.parse_args()
    tokenizer = build_tokenizer([SYSTEM, "user", "assistant", "system", *page_texts(args.pages)])
    ids = {name: tokenizer.convert_tokens_to_ids(word) for name, word in SPECIAL.items()}
    config = LlavaLladaConfig(
        **LANGUAGE,
        **ids,
        vocab_size=len(tokenizer),
        pad_token_id=ids["eos_token_id"],
        mm_hidden_size=VISION["hidden_size"],
        mm_vision_tower="./siglip",
        mm_vision_config={**VISION, "model_type": "siglip_vision_model"},
        mm_keep_all_layers=True,
        untrained=True,
    )
    torch.manual_seed(SEED)
    model = LlavaLladaForMaskedDiffusion(config).to(torch.bfloat16)
    with apply_shirg_x(model, ShirgXConfig(similarity="projected")):
        model.save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    total = sum(parameter.numel() for parameter in model.parameters())
    size = sum(file.stat().st_size for file in args.out.iterdir()) / 1e6
    print(f"{args.out}: {total:,} parameters without SHIRG-X's, {size:.1f} MB")


if __name__ == "__main__":
    main()
