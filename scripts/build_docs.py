"""Build the documents as pages for a browser; whatever a link, a docstring or a page lacks is an error.

python -m scripts.build_docs
python -m scripts.build_docs --out /tmp/site

README.md, CONTRIBUTING.md, CHANGELOG.md and docs/ are laid out as in the repository, with the files that they link
to, so that every link leads to the same place here and there.
"""

import argparse
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import yaml

from llava.files import replacing_directory
from llava.serve.parser import Parser
from scripts.entry import run

ROOT = Path(__file__).parent.parent
SETTINGS = ROOT / "mkdocs.yml"
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)\s#]+)(?P<rest>[^)]*)\)")
FENCE = re.compile(r"(^[ \t]*```.*?^[ \t]*```[ \t]*$)", re.MULTILINE | re.DOTALL)
COMPLAINT = re.compile(r"^(?:griffe|mkdocstrings|.*\bWARNING\b).*$", re.MULTILINE)


def build_parser() -> Parser:
    parser = Parser(prog="build_docs", description=__doc__)
    parser.add_argument("--out", type=Path, help="where the pages go (default: build/docs)")
    return parser


def lay_out(folder: Path) -> None:
    """Copy the documents, and the files that they link to, under their places in the repository.

    Raises:
        FileNotFoundError: if a link leads to nothing, naming the page.
    """
    pages = [*(ROOT / name for name in PAGES), *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        copy = folder / page.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        # Every other part is a code block.
        parts = FENCE.split(page.read_text())
        parts[::2] = [LINK.sub(partial(_carried, page=page, folder=folder), part) for part in parts[::2]]
        copy.write_text("".join(parts))


def _carried(link: re.Match[str], page: Path, folder: Path) -> str:
    """The link, with a copy of its file; a link to a folder, which has no page of its own, becomes its text."""
    if "://" in link["target"] or link["target"].startswith("mailto:"):
        return link[0]
    target = (page.parent / link["target"]).resolve()
    if not target.exists():
        raise FileNotFoundError(f"{page.relative_to(ROOT)} links to {link['target']}, which is not there")
    if target.is_dir():
        return link["text"]
    copy = folder / target.relative_to(ROOT)
    if target.suffix != ".md" and not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(target, copy)
    return link[0]


def build(args: argparse.Namespace) -> None:
    settings = yaml.safe_load(SETTINGS.read_text())
    with replacing_directory(ROOT / settings["docs_dir"]) as folder:
        lay_out(folder)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "--config-file", str(SETTINGS)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    said = built.stdout + built.stderr
    complaints = COMPLAINT.findall(said)
    if built.returncode or complaints:
        print(said if built.returncode else "\n".join(complaints), file=sys.stderr)
        raise ValueError("the documents do not build; the lines above say what is wrong where")
    site = ROOT / settings["site_dir"]
    if args.out:
        shutil.copytree(site, args.out, dirs_exist_ok=True)
    print(args.out or site.relative_to(ROOT))


def main(arguments: list[str] | None = None) -> int:
    return run(build_parser(), build, arguments)


if __name__ == "__main__":
    sys.exit(main())
