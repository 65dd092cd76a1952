"""The README's example runs as it stands."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_usage_example_runs(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["answer"].shape == (1, 32)
    assert "encode_images" not in vars(names["model"])


def test_every_file_it_links_to_exists():
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())
    local = [link for link in links if "://" not in link]
    assert local
    assert all((ROOT / link).exists() for link in local)
