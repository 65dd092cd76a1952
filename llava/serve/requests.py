"""From the words of the command line to settings, with everything cheap checked before a model is loaded.

torch and transformers take seconds to import, so that only ``load_session`` does, and says so.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llava.image_io import PageLimits, Picture
from llava.inference.checkpoint import BUNDLED_MODEL, Checkpoint
from llava.inference.decoding import find_decoding
from llava.inference.picture import pdf_long_side
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.seeds import MAX_SEED
from llava.serve.display import note, working
from llava.serve.files import load_page
from llava.shipped import find_settings

if TYPE_CHECKING:
    from llava.inference.answer import Denoised, EncodedImage
    from llava.inference.optimizations import Optimizations
    from llava.inference.session import Session

_OPTION_OF = {
    "max_new_tokens": "--tokens",
    "block_length": "--block-length",
    "threshold": "--threshold",
    "schedule_kwargs['shift']": "--shift",
}
_PLANNED = {"steps": None, "schedule": None, "shift": None, "remasking": "low_confidence"}
"""Options that plan in which order and how fast positions are settled, which ``fast`` leaves to the model's confidence,
and what they are when nobody says anything."""


COMPILING = "layers are compiled while the first page and answer are computed; on a CPU that takes minutes"

_LIMITS = ("seconds", "megabytes")
"""Of ``PageLimits``, each an option behind ``--page-``."""


def decoding_of(args: argparse.Namespace, *, stop: bool) -> DecodingConfig:
    """How to denoise.

    Raises:
        ValueError: naming the option that is wrong.
    """
    if not 0 <= args.seed <= MAX_SEED:
        raise ValueError(f"--seed must lie between 0 and {MAX_SEED}, got {args.seed}")
    _check_way(args)
    given = {
        "steps": args.steps,
        "schedule": args.schedule,
        "schedule_kwargs": None if args.shift is None else {"shift": args.shift},
        "threshold": args.threshold,
    }
    try:
        return find_decoding(
            args.decoding,
            max_new_tokens=args.tokens,
            block_length=args.block_length,
            remasking=args.remasking,
            temperature=args.temperature,
            prefix_lm=not args.no_cache,
            stop_at_end_of_turn=stop,
            **{name: value for name, value in given.items() if value is not None},
        )
    except ValueError as error:
        message = str(error)
        for name, option in _OPTION_OF.items():
            message = message.replace(name, option)
        raise ValueError(message) from error


def _check_way(args: argparse.Namespace) -> None:
    """Refuse options that belong to another way of denoising."""
    if args.decoding == "fast":
        for name, idle in _PLANNED.items():
            if getattr(args, name) != idle:
                raise ValueError(
                    f"--{name} plans what --decoding fast leaves to the model's confidence; add --decoding "
                    "one-per-step or exact"
                )
        return
    if args.threshold is not None:
        raise ValueError(f"--threshold belongs to --decoding fast, not {args.decoding}; leave one of them out")
    if args.decoding == "exact":
        drawn = {"temperature": args.temperature > 0, "remasking random": args.remasking == "random"}
        for option in (f"--{name}" for name, is_drawn in {**drawn, "no-cache": args.no_cache}.items() if is_drawn):
            raise ValueError(
                f"--decoding exact verifies drafted steps behind a cached prompt, which {option} rules out; add "
                "--decoding one-per-step, or leave it out"
            )


def checkpoint_of(args: argparse.Namespace) -> Checkpoint:
    """The model asked for, its adapter, and how tokens are chosen: as they were trained, or as options change it.

    Raises:
        FileNotFoundError: if there is no such checkpoint, adapter or settings file.
        ValueError: if options contradict each other, or settings are wrong.
    """
    options = {name: getattr(args, name, None) for name in ("config", "tiles", "budget", "similarity")}
    changes = {name: value for name, value in options.items() if value is not None and name != "config"}
    if getattr(args, "no_shirg", False):
        heatmap = getattr(args, "heatmap", None)
        for name, value in {**options, "heatmap": heatmap}.items():
            if value is not None:
                raise ValueError(f"--{name} belongs to SHIRG-X, which --no-shirg switches off; leave one of them out")
        changes = {"mode": "stock"}
    elif args.debug:
        changes["debug"] = True
    return Checkpoint.resolve(
        BUNDLED_MODEL if args.model is None else args.model,
        revision=args.revision,
        adapter=args.adapter,
        settings=None if options["config"] is None else find_settings(options["config"]),
        changes=changes,
    )


def open_page(args: argparse.Namespace, checkpoint: Checkpoint) -> Picture:
    """The picture asked about, its notes told; of a PDF as large as its views need it.

    Raises:
        FileNotFoundError, ValueError: if there is no such page, or it cannot be read within the limits.
    """
    limits = limits_of(args)
    picture = load_page(args.image, args.page, limits=limits, long_side=pdf_long_side(checkpoint.page_views))
    for line in picture.notes:
        note(line)
    return picture


def limits_of(args: argparse.Namespace) -> PageLimits:
    """How much time and memory the drawing of a page may take.

    Raises:
        ValueError: naming the option that is wrong.
    """
    given = {name: getattr(args, f"page_{name}") for name in _LIMITS}
    try:
        return PageLimits(**{name: value for name, value in given.items() if value is not None})
    except ValueError as error:
        name, _, rest = str(error).partition(" ")
        raise ValueError(f"--page-{name} {rest}") from error


def encode_page(session: Session, picture: Picture) -> EncodedImage:
    """The page as the model sees it; what only that shows is told before anything is asked."""
    with working("reading the page"):
        page = session.encode(picture)
    for line in page.notes[len(picture.notes) :]:
        note(line)
    return page


def load_session(args: argparse.Namespace, checkpoint: Checkpoint) -> Session:
    """The model, loaded; a note says so when its answers mean nothing."""
    with working("loading the model"):
        from llava.inference.session import Session

        with no_progress_bar():
            session = Session.open(
                checkpoint, device=args.device, dtype=args.dtype, optimizations=optimizations_of(args)
            )
    if args.compile:
        note(COMPILING)
    if session.untrained:
        note(f"the model {checkpoint.model} is untrained, so its answers mean nothing")
    return session


def optimizations_of(args: argparse.Namespace) -> Optimizations:
    """What the loaded model trades for speed or memory."""
    from llava.inference.optimizations import Optimizations

    return Optimizations(compile=args.compile, weights=args.weights)


def source_of(args: argparse.Namespace) -> dict[str, Any]:
    """What was asked, and of which model."""
    model = str(BUNDLED_MODEL) if args.model is None else args.model
    source = {"image": args.image, "page": args.page, "model": model}
    return source if args.adapter is None else source | {"adapter": args.adapter}


def record(args: argparse.Namespace, run: Denoised) -> dict[str, Any]:
    """What every JSON object about a denoising tells."""
    return {
        **source_of(args),
        "k": run.prefix.budget,
        "scaffold_tokens": run.prefix.scaffold_tokens,
        "image_tokens": len(run.prefix.tokens),
        "confidence": round(run.confidence, 6),
        "steps": run.steps,
        "forwards": run.forwards,
        "tokens_per_forward": round(run.tokens_per_forward, 3),
        "seconds": {stage: round(seconds, 6) for stage, seconds in run.seconds.items()},
        "blank": run.blank,
        "notes": list(run.notes),
    }


def summary(run: Denoised) -> str:
    """The same in a few words."""
    prefix, seconds = run.prefix, run.seconds
    tokens = f"{len(prefix.tokens):,} image tokens"
    if prefix.budget is not None:
        tokens = f"K = {prefix.budget:,} + {prefix.scaffold_tokens:,} scaffold tokens"
    paced = f"{run.forwards} forwards, {run.tokens_per_forward:.1f} tokens each"
    stages = ", ".join(f"{stage} {value:.2f} s" for stage, value in seconds.items())
    return f"confidence {run.confidence:.0%}; {tokens}; {paced}; {stages}"


@contextmanager
def no_progress_bar() -> Iterator[None]:
    """Keeps transformers from drawing its own bars, which are no use beside others or in a log."""
    from transformers.utils import logging

    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            logging.enable_progress_bar()
