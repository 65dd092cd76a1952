"""Reading the documents: their code blocks with the marks before them, and where their links lead.

Code blocks are found by sybil. CONTRIBUTING.md says what the marks mean.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sybil.document import Document
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted(page for page in (ROOT / "docs").rglob("*.md"))]
ALL_PAGES = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
REASONS = ("needs a GPU", "needs the hub", "installs packages", "takes hours")
"""Why a block may not be run."""

_FENCES = RawFencedCodeBlockLexer(re.compile(r"(?P<info>[^\n]*)\n"))
_MARK = re.compile(r"<!--\s*(?P<kind>not run|file):\s*(?P<words>.+?)\s*-->[ \t]*\n\s*\Z")
_LINK = re.compile(r"(?<!\\)\[(?:[^\[\]]|\[[^\]]*\])*\]\((?P<target>[^)\s]+)(?:\s+\"[^\"]*\")?\)")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A code block of a page."""

    page: Path
    line: int
    language: str
    source: str
    not_run: str | None = None
    """Why it is not run."""
    file: str | None = None
    """The name under which it is written into the working folder."""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT) if self.page.is_relative_to(ROOT) else self.page.name}:{self.line}"


def read_blocks(page: Path) -> list[Block]:
    """The code blocks of a page, in order."""
    document = Document(page.read_text(), str(page))
    found = []
    for region in sorted(_FENCES(document), key=lambda region: region.start):
        mark = _MARK.search(document.text, 0, region.start)
        named = {} if mark is None else {mark["kind"].replace(" ", "_"): mark["words"]}
        found.append(
            Block(
                page=page,
                line=document.text.count("\n", 0, region.start) + 1,
                language=region.lexemes["info"].strip(),
                source=str(region.lexemes["source"]),
                **named,
            )
        )
    return found


def command_lines(source: str) -> Iterator[str]:
    """The commands of a bash block: a line each, or several that end in a backslash."""
    for line in re.sub(r"\\\n\s*", " ", source).splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip()


def without_code(text: str) -> str:
    """A page's text without its code blocks and code spans, in which nothing is a link or a heading."""
    document = Document(text, "page.md")
    for region in sorted(_FENCES(document), key=lambda region: region.start, reverse=True):
        text = text[: region.start] + text[region.end :]
    return text


def local_links(page: Path) -> Iterator[tuple[str, Path, str]]:
    """What a page links to in the repository: the link as written, its file, and its anchor (or nothing)."""
    text = re.sub(r"(?<!`)`[^`\n]+`(?!`)", "", without_code(page.read_text()))
    for found in _LINK.finditer(text):
        target = found["target"]
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        yield target, (page.parent / path).resolve() if path else page, anchor


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub forms them."""
    found: set[str] = set()
    for heading in _HEADING.findall(without_code(page.read_text())):
        plain = re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = 0
        while (name := anchor if not number else f"{anchor}-{number}") in found:
            number += 1
        found.add(name)
    return found
