"""Mistakes that people make, each with what is typed and a word of it that the refusal must hold."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from tests.cli_helpers import INDEX, Room, edit_config, edit_tensors
from tests.model.test_image_io import encode, forged_png
from tests.pdf_helpers import endless, pdf_bytes

CATALOG = ("<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>")


XFA_CATALOG = "<</Type/Catalog/Pages 2 0 R/NeedsRendering true/AcroForm<</Fields[]/XFA 4 0 R>>>>"


CROPPED = "<</Type/Page/Parent 2 0 R/MediaBox[0 0 90 70]/CropBox[100 100 200 200]>>"


SHEET = "<</Type/Page/Parent 2 0 R/MediaBox[0 0 90 70]>>"


LOCK = f"<</Filter/Standard/V 1/R 2/P -4/O<{'ab' * 32}>/U<{'cd' * 32}>>>"


@dataclass(frozen=True)
class Case:
    """A mistake: what is typed, and a word of it that the refusal must hold."""

    name: str
    make: Callable[[Room], tuple[list[str], str]]
    loads: bool = False
    """The mistake can be seen only once the model is loaded, or while it is."""
    imports: bool = False
    """The mistake can be seen only with torch or transformers, though nothing is loaded."""


def image(name: str, file: str, content: Callable[[Room], bytes] | bytes, *options: str, named: str = "") -> Case:
    """A spoiled picture; the refusal names the file, or what ``named`` says."""

    def make(room: Room) -> tuple[list[str], str]:
        path = room.file(file, content if isinstance(content, bytes) else content(room))
        return ["ask", path, "why?", *options, "--model", str(room.model)], named or path

    return Case(f"image: {name}", make)


def place(name: str, make_path: Callable[[Room], Path]) -> Case:
    """Something that is no picture file at all."""

    def make(room: Room) -> tuple[list[str], str]:
        path = str(make_path(room))
        return ["ask", path, "why?", "--model", str(room.model)], path

    return Case(f"image: {name}", make)


def checkpoint(
    name: str, spoil: Callable[[Path], object], named: str, *, loads: bool = False, imports: bool = False
) -> Case:
    """A spoiled copy of a checkpoint."""

    def make(room: Room) -> tuple[list[str], str]:
        directory = room.copy()
        spoil(directory)
        return ["ask", str(room.page), "why?", "--model", str(directory)], named

    return Case(f"checkpoint: {name}", make, loads, imports)


def config(name: str, yaml: str, named: str, *options: str) -> Case:
    def make(room: Room) -> tuple[list[str], str]:
        path = room.file("shirg.yaml", yaml)
        return ["ask", str(room.page), "why?", "--model", str(room.model), "--config", path, *options], named

    return Case(f"config: {name}", make)


def request(name: str, typed: str, named: str, *, loads: bool = False) -> Case:
    """A command line, with {page}, {dir} and {model} to be filled in; words are parted by @."""

    def make(room: Room) -> tuple[list[str], str]:
        places = {"page": room.page, "dir": room.path, "model": room.model}
        return [word.format(**places) for word in typed.split("@")], named.format(**places)

    return Case(f"request: {name}", make, loads)


def settings(name: str, yaml: str, named: str, *options: str) -> Case:
    """A file of settings for training, beside the directory of an earlier run; {dir} is to be filled in."""

    def make(room: Room) -> tuple[list[str], str]:
        state = room.path / "run" / "checkpoint-3" / "trainer_state.json"
        state.parent.mkdir(parents=True)
        state.write_text("{}")
        return ["train", room.file("run.yaml", yaml.replace("{dir}", str(room.path))), *options], named

    return Case(f"settings: {name}", make)


def ask(name: str, options: str, named: str, *, question: str = "why?", loads: bool = False) -> Case:
    return request(name, f"ask@{{page}}@{question}@--model@{{model}}@{options}".rstrip("@"), named, loads=loads)


def fifo(room: Room) -> Path:
    os.mkfifo(room.path / "pipe")
    return room.path / "pipe"


def first_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def only_pickle(directory: Path) -> None:
    for file in directory.glob("model*"):
        file.unlink()
    (directory / "pytorch_model.bin").write_bytes(b"\x80\x04")


def tokenizer_with_more_words(directory: Path) -> None:
    path = directory / "tokenizer.json"
    settings = json.loads(path.read_text())
    settings["model"]["vocab"] |= {f"word{number}": 512 + number for number in range(7)}
    path.write_text(json.dumps(settings))


def endless_page(room: Room) -> bytes:
    return endless(room.path / "endless.pdf").read_bytes()


def two_pages(room: Room) -> bytes:
    frames = [Image.new("RGB", (90, 70), color) for color in ("red", "blue")]
    return encode(frames[0], "TIFF", save_all=True, append_images=frames[1:])


def two_frames(room: Room) -> bytes:
    frames = [Image.new("RGB", (90, 70), color) for color in ("red", "blue")]
    return encode(frames[0], "GIF", save_all=True, append_images=frames[1:])


def wide(room: Room) -> bytes:
    return encode(Image.new("RGB", (800, 10), "red"), "PNG")


PAGE_PNG = encode(Image.radial_gradient("L"), "PNG")


PROJECTOR = "model.mm_projector.0.weight"


CASES = [
    image("empty", "a.png", b""),
    image("text", "a.png", b"Dear Sir or Madam,\n"),
    image("web page", "a.jpg", b"<!doctype html><html><body>not found</body></html>"),
    image("truncated PNG", "a.png", PAGE_PNG[: len(PAGE_PNG) // 2]),
    image("truncated JPEG", "a.jpg", encode(Image.radial_gradient("L"), "JPEG")[:900]),
    image("corrupt header", "a.png", PAGE_PNG[:12] + bytes(20) + PAGE_PNG[32:]),
    image("one pixel", "a.png", encode(Image.new("RGB", (1, 1)), "PNG")),
    image("forged size", "a.png", forged_png(60_000, 60_000)),
    image("SVG", "a.png", b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
    image("HEIC", "a.heic", b"\0\0\0\x18ftypheic" + bytes(64)),
    image("random bytes", "a.png", bytes(range(256))),
    image("name that steers a terminal", "\x1b[31m.png", b"", named="\N{REPLACEMENT CHARACTER}[31m.png"),
    image("damaged PDF", "a.pdf", b"%PDF-1.7\n" + bytes(range(256))),
    image("encrypted PDF", "a.pdf", pdf_bytes(*CATALOG, SHEET, LOCK, trailer="/Encrypt 4 0 R/ID[<00><00>]")),
    image("PDF without pages", "a.pdf", pdf_bytes(CATALOG[0], "<</Type/Pages/Kids[]/Count 0>>")),
    image("PDF page out of range", "a.pdf", pdf_bytes(*CATALOG, SHEET), "--page", "7", named="no page 7"),
    image(
        "page without end",
        "a.pdf",
        endless_page,
        "--page-seconds",
        "0.5",
        named="more than 0.5 s; raise",
    ),
    image("page that fills the memory", "a.pdf", endless_page, "--page-megabytes", "30", named="more than 30 MiB"),
    image("XFA form", "a.pdf", pdf_bytes(XFA_CATALOG, CATALOG[1], SHEET, "<<>>"), named="contents cannot be drawn"),
    image("crop box outside the page", "a.pdf", pdf_bytes(*CATALOG, CROPPED), named="leave nothing"),
    image("page of a TIFF out of range", "a.tif", two_pages, "--page", "3", named="no page 3; choose a page"),
    image("frame out of range", "a.gif", two_frames, "--page", "3", named="no frame 3; choose a frame from 1 to 2"),
    image("endless sliver", "a.png", forged_png(8, 18_000_000), named="one side more than 256 times the other"),
    image("wide sliver", "a.png", forged_png(90_000, 40), named="one side more than 256 times the other"),
    image("no time for a page", "a.pdf", pdf_bytes(*CATALOG, SHEET), "--page-seconds", "0", named="--page-seconds"),
    image("no memory for a page", "a.png", PAGE_PNG, "--page-megabytes", "nan", named="--page-megabytes"),
    image("page 0", "a.pdf", pdf_bytes(*CATALOG, SHEET), "--page", "0", named="no page 0"),
    image("page of a picture", "a.png", PAGE_PNG, "--page", "2", named="no page 2"),
    image("page that is no number", "a.png", PAGE_PNG, "--page", "two", named="'two'"),
    place("missing", lambda room: room.path / "no_such.png"),
    place("in a missing directory", lambda room: room.path / "none" / "a.png"),
    place("directory", lambda room: room.path),
    place("pipe", fifo),
    place("below a file", lambda room: room.page / "a.png"),
    place("name too long", lambda room: room.path / ("n" * 300)),
    request("missing checkpoint", "ask@{page}@why?@--model@{dir}/none", "{dir}/none"),
    request("file as checkpoint", "ask@{page}@why?@--model@{page}", "{page}"),
    request("nameless checkpoint", "ask@{page}@why?@--model@a/b/c", "a/b/c"),
    checkpoint("no config", lambda path: (path / "config.json").unlink(), "config.json"),
    checkpoint("broken config", lambda path: (path / "config.json").write_text('{"d_model": '), "config.json"),
    checkpoint("config is a list", lambda path: (path / "config.json").write_text("[]"), "'list'"),
    checkpoint("another model", lambda path: edit_config(path, model_type="llama"), "'llama'"),
    checkpoint("wrong type", lambda path: edit_config(path, n_layers="two"), "n_layers", imports=True),
    checkpoint("other architecture", lambda path: edit_config(path, alibi=True), "alibi", imports=True),
    checkpoint("unknown SHIRG-X setting", lambda path: edit_config(path, shirg_x={"budgt": 512}), "'budgt'"),
    checkpoint("no vision tower", lambda path: edit_config(path, mm_vision_tower="../none"), "none", loads=True),
    checkpoint(
        "no weights", lambda path: [file.unlink() for file in path.glob("model*")], "model.safetensors", loads=True
    ),
    checkpoint("only a pickle", only_pickle, "pytorch_model.bin", loads=True),
    checkpoint(
        "missing shard",
        lambda path: (path / "model-00002-of-00002.safetensors").unlink(),
        "model-00002-of-00002.safetensors",
        loads=True,
    ),
    checkpoint(
        "truncated shard",
        lambda path: first_half(path / "model-00001-of-00002.safetensors"),
        "model-00001-of-00002.safetensors",
        loads=True,
    ),
    checkpoint("broken index", lambda path: (path / INDEX).write_text("{}"), INDEX, loads=True),
    checkpoint(
        "missing tensor", lambda path: edit_tensors(path, lambda held: held.pop(PROJECTOR)), PROJECTOR, loads=True
    ),
    checkpoint(
        "extra tensor",
        lambda path: edit_tensors(path, lambda held: held.update(stranger=torch.zeros(3))),
        "stranger",
        loads=True,
    ),
    checkpoint(
        "wrong shape",
        lambda path: edit_tensors(path, lambda held: held.update({PROJECTOR: torch.zeros(5, 7)})),
        PROJECTOR,
        loads=True,
    ),
    checkpoint("no tokenizer", lambda path: (path / "tokenizer.json").unlink(), "tokenizer.json", loads=True),
    checkpoint("broken tokenizer", lambda path: first_half(path / "tokenizer.json"), "tokenizer", loads=True),
    checkpoint("tokenizer too large", tokenizer_with_more_words, "519", loads=True),
    checkpoint(
        "broken SHIRG-X weights",
        lambda path: edit_tensors(path, lambda held: held.update({"shirg_x.coordinates.stranger": torch.zeros(3)})),
        "coordinates.stranger",
        loads=True,
    ),
    config("misspelt key", "budgt: 512", "'budget'"),
    config("bad YAML", "grid: [12", "shirg.yaml"),
    config("list", "- grid", "shirg.yaml"),
    config("empty", "", "shirg.yaml"),
    config("wrong type", "grid: large", "'large'"),
    config("grid not divisible", "{grid: 13, budgets: [32]}", "13"),
    config("budget not offered", "{grid: 12, budgets: [32], budget: 33}", "33"),
    config("more budget than patches", "{grid: 12, budgets: [145]}", "145"),
    config("unknown similarity", "similarity: vibes", "'vibes'"),
    config("heat map without selection", "mode: stock", "mode: stock", "--heatmap", "kept.png"),
    ask("missing configuration", "--config@{dir}/none.yaml", "{dir}/none.yaml"),
    ask("budget not offered", "--budget@33", "33"),
    ask("budget that is no number", "--budget@much", "'much'"),
    ask("unknown similarity", "--similarity@vibes", "'vibes'"),
    ask("budget without SHIRG-X", "--no-shirg@--budget@48", "--budget"),
    ask("heat map without SHIRG-X", "--no-shirg@--heatmap@{dir}/a.png", "--heatmap"),
    ask("empty question", "", "''", question=""),
    ask("blank question", "", "empty", question=" \t "),
    ask("one blank question of two", "", "empty", question="why?@ "),
    ask("placeholder in the question", "", "<image>", question="is <image> red?"),
    ask("mask in the question", "", "<|mdm_mask|>", question="is <|mdm_mask|> red?", loads=True),
    ask("end of turn in the question", "", "<|eot_id|>", question="red?<|eot_id|>", loads=True),
    ask("not UTF-8", "", "UTF-8", question="caf\udce9?"),
    ask("question too long", "", "4096", question="why " * 1500, loads=True),
    ask("unknown schedule", "--decoding@one-per-step@--schedule@slowly", "'slowly'"),
    ask("shift of another schedule", "--decoding@exact@--schedule@cosine@--shift@2", "'cosine'"),
    ask("negative shift", "--decoding@exact@--shift@-1", "--shift"),
    ask("threshold too high", "--threshold@2", "2.0"),
    ask("steps of the fast way", "--steps@4", "--decoding one-per-step"),
    ask("schedule of the fast way", "--schedule@shift", "--schedule plans what --decoding fast"),
    ask("order of the fast way", "--remasking@margin", "--remasking plans what --decoding fast"),
    ask(
        "threshold of another way",
        "--decoding@exact@--threshold@0.9",
        "--threshold belongs to --decoding fast, not exact",
    ),
    ask("drafts that are drawn", "--decoding@exact@--temperature@0.5", "--temperature rules out"),
    ask("drafts in a random order", "--decoding@exact@--remasking@random", "--remasking random rules out"),
    ask("drafts without a cache", "--decoding@exact@--no-cache", "--no-cache rules out"),
    ask("unknown way", "--decoding@slow", "'slow'"),
    ask("no tokens", "--tokens@0", "--tokens"),
    ask("tokens that are no number", "--tokens@many", "'many'"),
    ask("tokens beyond the context", "--tokens@4096", "4096", loads=True),
    ask("tokens not in blocks", "--tokens@10@--block-length@3", "--block-length=3"),
    ask("no steps", "--decoding@exact@--steps@0", "steps"),
    ask("negative temperature", "--temperature@-1", "-1.0"),
    ask("temperature that is no number", "--temperature@nan", "nan"),
    ask("negative seed", "--seed@-1", "--seed"),
    ask("unknown remasking", "--decoding@exact@--remasking@none", "'none'"),
    ask("unknown precision", "--dtype@int8", "'int8'"),
    ask("unknown device", "--device@abacus", "'abacus'", loads=True),
    ask("absent device", "--device@cuda:99", "'cuda:99'", loads=True),
    ask("heat map in a missing directory", "--heatmap@{dir}/none/a.png", "{dir}/none"),
    ask("heat map that is a directory", "--heatmap@{dir}/folder.png", "{dir}/folder.png"),
    ask("heat map over the page", "--heatmap@{page}", "{page}"),
    ask("second heat map over the page", "--heatmap@{dir}/over.png", "over-2.png", question="why?@when?"),
    ask("heat map of another format", "--heatmap@{dir}/a.jpg", "a.jpg"),
    ask("boxes of another format", "--boxes@{dir}/a.jpg", "--boxes writes PNG files"),
    ask("boxes with nothing to draw", "--no-shirg@--boxes@{dir}/a.png", "name the place by --evidence"),
    ask("a place without boxes", "--evidence@0,0,1,1", "add --boxes"),
    ask("a place for two questions", "--boxes@{dir}/a.png@--evidence@0,0,1,1", "ask one", question="why?@when?"),
    ask("a place off the page", "--boxes@{dir}/a.png@--evidence@0,0,1,2", "--evidence must be X0,Y0,X1,Y1"),
    ask("film of another format", "--film@{dir}/a.mov", "--film: a film is written as .gif or .webp"),
    ask("film in a missing directory", "--film@{dir}/none/a.gif", "{dir}/none"),
    ask("unknown option", "--heat@{dir}/a.png", "--heat"),
    request("no question", "ask@{page}", "QUESTION"),
    request("unknown command", "answer@{page}@why?", "'answer'"),
    request("no gap", "fill@{page}@Total: 4@--model@{model}", "Total: 4"),
    request("empty gap", "fill@{page}@Total: [0]@--model@{model}", "Total: [0]"),
    request("gaps longer than the answer", "fill@{page}@Total: [33]@--model@{model}", "33"),
    request(
        "template longer than the answer", "fill@{page}@a long text [4]@--tokens@9@--model@{model}", "16", loads=True
    ),
    request("special token in a template", "fill@{page}@[4]<|eot_id|>@--model@{model}", "<|eot_id|>", loads=True),
    request("placeholder in a template", "fill@{page}@<image> [4]@--model@{model}", "<image>"),
    request("nothing to select for", "select@{page}@ @--model@{model}", "empty"),
    request("demo without questions", "demo@--questions@0@--model@{model}", "--questions"),
    request("demo into a file", "demo@--out@{page}@--model@{model}", "{page}"),
    request("demo into a missing directory", "demo@--out@{dir}/none/out@--model@{model}", "{dir}/none"),
    request("unknown benchmark", "eval@--benchmark@nope@--out@{dir}/out@--model@{model}", "'nope'"),
    request("unknown style", "eval@--benchmark@docpage@--style@nope@--out@{dir}/out@--model@{model}", "'nope'"),
    request("no style", "eval@--benchmark@docpage@--out@{dir}/out@--model@{model}", "--style"),
    request("unknown method", "eval@--benchmark@docpage@--method@nope@--out@{dir}/out@--model@{model}", "'nope'"),
    request("comparison of nothing", "eval@--compare@{dir}/one@{dir}/two", "{dir}/one"),
    request("no settings to train", "train@{dir}/none.yaml", "{dir}/none.yaml"),
    request("settings of a misspelt name", "train@train/shirgx", "train/shirg_x"),
    request("nothing to train from", "train@train/shirg_x@--model@{dir}/none", "{dir}/none"),
    request("unknown setting to train with", "train@train/shirg_x@--set@trainable.rnk=3", "'rank'"),
    request("unknown setting of the trainer", "train@train/shirg_x@--set@trainer.max_step=3", "'max_step'"),
    request("value that is no YAML", "train@train/shirg_x@--set@seed=[", "seed=["),
    request("sizes that nothing trains", "train@train/shirg_x@--full-size", "add --dry-run"),
    request("plan for no GPU", "train@train/shirg_x@--dry-run@--gpus@0", "--gpus"),
    settings("unknown loss", "{model: m, out: o, pages: {}, losses: {readng: 1}}", "'reading'"),
    settings("unknown style of pages", "{model: m, out: o, pages: {style: nope}}", "nope"),
    settings("crops of no number", "{model: m, out: o, crops: {crops: many}}", "'many'"),
    settings("a plan for crops", "{model: lavida-small, out: o, crops: {crops: 9}}", "--dry-run", "--dry-run"),
    settings("a start over an earlier run", "{model: lavida-small, out: '{dir}/run', pages: {}}", "resume it"),
    request("nothing to merge", "merge-adapter@--out@{dir}/out", "give an adapter"),
    request("no adapter to merge", "merge-adapter@{dir}/none@--out@{dir}/out", "{dir}/none"),
    request("merging into the checkpoint", "merge-adapter@--model@{model}@--out@{model}", "the checkpoint itself"),
    request("info of nothing", "info@{dir}/none", "{dir}/none"),
    request("info of another directory", "info@{dir}", "config.json"),
]
