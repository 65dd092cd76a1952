"""Print the peak memory of one training step's loss: masked positions gathered before the head, and all logits.

    python -m scripts.measure_loss_memory
    python -m scripts.measure_loss_memory --positions 1100 --answer 64 --width 64

Runs on the CPU with the released vocabulary on a narrow model, where the logits outweigh everything else. Each way has
a process of its own, whose high-water mark is read before and after the step; the weights are made before that.
"""

import argparse
import json
import multiprocessing
import resource
import sys

from llava.constants import IGNORE_INDEX
from llava.serve.parser import Parser, positive
from scripts.entry import run

VOCABULARY = 126_464
HEADS = 2
WAYS = ("gathered", "all logits")


def measure(way: str, width: int, positions: int, answer: int) -> tuple[float, float]:
    """Growth of the process's peak memory over one step in MB, and the loss."""
    import torch
    import torch.nn.functional as F

    from llava.model.language_model.llava_llada import LlavaLladaConfig, LlavaLladaForMaskedDiffusion
    from llava.train.losses.objective import draw_masks, masked_diffusion_loss, two_copies

    torch.manual_seed(0)
    torch.set_num_threads(1)
    vision = {"model_type": "siglip_vision_model", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 2}
    vision |= {"num_attention_heads": 1, "image_size": 28, "patch_size": 14}
    model = LlavaLladaForMaskedDiffusion(
        LlavaLladaConfig(
            d_model=width,
            n_heads=HEADS,
            n_layers=1,
            mlp_hidden_size=width,
            vocab_size=VOCABULARY,
            embedding_size=VOCABULARY,
            mm_hidden_size=8,
            mm_vision_config=vision,
        )
    )
    # Room for the gradients, which both ways need alike.
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    ids = torch.randint(0, 1000, (1, positions))
    labels = ids.clone()
    labels[:, : positions - answer] = IGNORE_INDEX
    batch = model.prepare_inputs(ids, labels=labels)
    masked = draw_masks(labels, torch.Generator().manual_seed(1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if way == "gathered":
        loss = masked_diffusion_loss(model, batch, masked).loss
    else:
        copies = two_copies(model, batch, masked)
        hidden = model.model(copies.embeds, copies.attention_mask, copies.position_ids)
        wanted = copies.labels.masked_fill(~copies.masked, IGNORE_INDEX)
        logits = model.model.compute_logits(hidden).float()
        loss = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORE_INDEX)
    loss.backward()
    # Linux counts in units of 1024 bytes.
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1e6, loss.item()


def build_parser() -> Parser:
    parser = Parser(prog="measure_loss_memory", description=__doc__)
    parser.add_argument(
        "--width", type=positive, default=64, help=f"of the model, a multiple of {2 * HEADS} (default: 64)"
    )
    parser.add_argument(
        "--positions", type=positive, default=700, help="of prompt, image and answer together (default: 700)"
    )
    parser.add_argument("--answer", type=positive, default=32, help="positions of the answer (default: 32)")
    return parser


def compare(args: argparse.Namespace) -> None:
    if args.answer >= args.positions:
        raise ValueError(f"the answer must be a part of the positions, got {args.answer} of {args.positions}")
    if args.width % (2 * HEADS):
        raise ValueError(f"--width must be a multiple of {2 * HEADS}, got {args.width}")
    settings = (args.width, args.positions, args.answer)
    results = {}
    for way in WAYS:
        # A child that is forked would inherit this process's high-water mark.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            megabytes, loss = pool.apply(measure, (way, *settings))
        print(f"{way:10s}  peak +{megabytes:8.1f} MB  loss {loss:.5f}")
        results[way] = round(megabytes, 1)
    print(json.dumps({**vars(args), "vocabulary": VOCABULARY, "peak_mb": results}))


def main(arguments: list[str] | None = None) -> int:
    return run(build_parser(), compare, arguments)


if __name__ == "__main__":
    sys.exit(main())
