"""What the documents print is true: their code runs, their links lead somewhere, their numbers are the stored ones."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from llava.eval.printed import fill_tables, printed_figures
from llava.eval.report import read_report, render
from llava.model import LlavaLladaConfig
from llava.model.multimodal_encoder.siglip_encoder import SigLipVisionTower
from llava.serve.cli import main
from llava.speed.workload import FULL_SIZE_VISION
from tests.documents_helpers import ALL_PAGES, PAGES, REASONS, ROOT, Block, anchors, local_links, read_blocks
from tests.workbench_helpers import SeenViews, Workbench, lay_out

RESULTS = ROOT / "docs" / "results"
WITH_BLOCKS = [page for page in PAGES if read_blocks(page)]
STORED = sorted(path.parent for path in RESULTS.glob("*/results.json"))


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="session")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LaViDa-8B's configuration, which is all that planning reads of it."""
    directory = tmp_path_factory.mktemp("full")
    LlavaLladaConfig(mm_vision_config=FULL_SIZE_VISION).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def seen() -> SeenViews:
    return SeenViews()


@pytest.fixture
def bench(
    tiny_checkpoint: Path,
    expanded: tuple[Path, object],
    planned: Path,
    seen: SeenViews,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Workbench]:
    """A working folder that is the current directory, in which a page's blocks run."""
    lay_out(tmp_path, adapter=expanded[0], planned=planned)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("llava.shipped.settings_folder", lambda: tmp_path / "configs")
    monkeypatch.setattr(SigLipVisionTower, "forward", seen.forward())
    workbench = Workbench(lavida=tiny_checkpoint, planned=planned)
    with workbench.running:
        yield workbench


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=name)
def test_every_code_block_runs(page: Path, bench: Workbench) -> None:
    for block in read_blocks(page):
        bench.run(block)


def test_marks_give_a_known_reason() -> None:
    wrong = [f"{block}: {block.not_run}" for page in PAGES for block in read_blocks(page) if block.not_run]
    assert not [each for each in wrong if not each.endswith(REASONS)], f"reasons are {', '.join(REASONS)}"


ROTTEN = {
    "a name that is gone": ("python", "from llava import Sessions", None, "cannot import name 'Sessions'"),
    "a word that is gone": (
        "python",
        "from llava import Session\nSession.load(nodel='x')",
        None,
        "unexpected keyword argument 'nodel'",
    ),
    "an option that is gone": (
        "bash",
        'lavida ask page.png "What?" --bugdet 512',
        None,
        "unrecognized arguments: --bugdet",
    ),
    "a file that is gone": ("bash", 'lavida ask paper.png "What?"', None, "Cannot read paper.png: no such file"),
    "settings that are gone": ("bash", "lavida train train/shirg_y", None, "there is no file train/shirg_y"),
    "a target that is gone": ("bash", "make demonstration", None, "the Makefile has no target"),
    "an extra that is gone": ("bash", "pip install 'lavida-shirg[training]'", None, "pyproject.toml has no extra"),
    "a program that nobody knows": ("bash", "lavidda ask page.png", None, "nobody knows how to run 'lavidda'"),
    "a script that is gone": ("bash", "python -m scripts.ablation x.yaml", None, "No module named 'scripts.ablation'"),
    "a setting that is gone": ("yaml", "trainabel: {rank: 16}", None, "unknown setting 'trainabel'"),
    "no language": ("", "lavida demo", None, "the language must be one of"),
    "another language": ("console", "$ lavida demo", None, "the language must be one of"),
    "the hub without a mark": (
        "bash",
        "hf download lmms-lab/textvqa",
        None,
        "needs the mark <!-- not run: needs the hub -->",
    ),
    "an option that is gone, marked": (
        "bash",
        "lavida ask page.png Q --device cuda --bugdet 512",
        "needs a GPU",
        "unrecognized arguments: --bugdet",
    ),
    "a script's option, marked": (
        "bash",
        "python -m scripts.benchmark_training x.yaml --big --device cuda",
        "needs a GPU",
        "unrecognized arguments: --big",
    ),
    "an option of every process, marked": (
        "bash",
        "torchrun --nproc-per-node 8 -m llava.train x --all",
        "needs a GPU",
        "unrecognized arguments: --all",
    ),
    "an import that is gone, marked": (
        "python",
        "from llava.model import builders",
        "needs a GPU",
        "cannot import name 'builders'",
    ),
    "no Python, marked": ("python", "with Session.load(:", "needs the hub", "invalid syntax"),
}


@pytest.mark.parametrize(("language", "source", "not_run", "message"), ROTTEN.values(), ids=ROTTEN)
def test_a_rotten_block_is_found(
    language: str, source: str, not_run: str | None, message: str, bench: Workbench
) -> None:
    block = Block(page=ROOT / "README.md", line=1, language=language, source=source, not_run=not_run)
    with pytest.raises(AssertionError, match=rf"README\.md:1 .* fails: .*{re.escape(message)}"):
        bench.run(block)


def test_blocks_are_read_with_their_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A\n\n```python\na = 1\n```\n\n<!-- not run: needs a GPU -->\n\n```bash\nlavida demo\n```\n\n"
        "- in a list\n\n  <!-- file: my.yaml -->\n  ```yaml\n  rank: 1\n  ```\n\n```\nx\n```\n"
    )
    found = [(block.line, block.language, block.source, block.not_run, block.file) for block in read_blocks(page)]
    assert found == [
        (3, "python", "a = 1\n", None, None),
        (9, "bash", "lavida demo\n", "needs a GPU", None),
        (16, "yaml", "rank: 1\n", None, "my.yaml"),
        (20, "", "x\n", None, None),
    ]


@pytest.mark.parametrize("page", ALL_PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for link, target, anchor in local_links(page):
        assert target.exists(), f"{link}: no such file"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{link}: no such heading"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_nothing_is_called_a_checklist() -> None:
    files = [path for pattern in ("*.md", "*.py", "*.yaml", "*.sh") for path in tracked(pattern)]
    assert len(files) > 100
    assert not [path for path in files if "checklist" in path.read_text().lower() and path != Path(__file__)]


def tracked(pattern: str) -> Iterator[Path]:
    folders = ("llava", "shirg", "scripts", "configs", "docs", "tests")
    yield from ROOT.glob(pattern)
    for folder in folders:
        yield from (ROOT / folder).rglob(pattern)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_tables_and_figures_are_the_stored_ones(page: Path) -> None:
    text = page.read_text()
    if page.name != "results.md":
        assert fill_tables(text, RESULTS) == text, "run python -m scripts.fill_tables"
        assert not [figure for figure in printed_figures(text, RESULTS) if not figure.agrees]


@pytest.mark.parametrize("folder", STORED, ids=lambda folder: folder.name)
def test_stored_pages_are_drawn_from_the_stored_numbers(folder: Path) -> None:
    assert (folder / "results.md").read_text() == render(read_report(folder))


def test_pages_of_the_navigation_are_all_pages() -> None:
    def pages(entry: object) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        else:
            for each in entry.values() if isinstance(entry, dict) else entry:  # type: ignore[attr-defined]
                yield from pages(each)

    listed = list(pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert sorted(listed) == sorted({name(page) for page in ALL_PAGES if page.name != "results.md"})


def test_every_public_module_has_its_place_in_the_reference() -> None:
    text = "\n".join(page.read_text() for page in (ROOT / "docs" / "api").glob("*.md"))
    listed = re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE)
    assert len(listed) == len(set(listed))
    files = [ROOT.joinpath(*name.split(".")) for name in listed]
    assert not [path for path in files if not path.with_suffix(".py").is_file() and not path.is_dir()], "gone"
    folders = (
        "llava/data",
        "llava/eval",
        "llava/metrics",
        "llava/pages",
        "llava/tuning",
        "llava/train/losses",
        "shirg",
    )
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
    }
    inner = {"shirg.lazy"}
    assert {each for each in modules if not each.endswith("__init__") and each not in inner} <= set(listed)


def test_the_version_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == f"lavida {version}"
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()
