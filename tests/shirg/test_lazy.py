"""What is named is imported when it is used, and no sooner."""

import subprocess
import sys
from typing import Any

import pytest

from shirg.lazy import Lazy, lazy_names


def test_it_calls_what_it_names() -> None:
    assert Lazy("math", "gcd")(12, 18) == 6
    assert Lazy("collections", "Counter").resolve() is __import__("collections").Counter


def test_a_package_finds_its_names_and_no_others() -> None:
    find: Any = lazy_names("package", {"gcd": "math"})
    assert find("gcd")(4, 6) == 2
    with pytest.raises(AttributeError, match="module 'package' has no attribute 'lcm'"):
        find("lcm")


@pytest.mark.parametrize(
    "imported",
    [
        "llava",
        "shirg",
        "shirg.config",
        "shirg.baselines",
        "llava.model",
        "llava.inference.checkpoint",
        "llava.train.config",
    ],
)
def test_settings_are_known_without_torch(imported: str) -> None:
    code = f"import sys, {imported}; sys.exit(bool({{'torch', 'transformers', 'jaxtyping'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_names_of_the_packages_are_all_there() -> None:
    import llava
    import llava.model
    import shirg

    for package in (llava, llava.model, shirg):
        for name in package.__all__:
            assert getattr(package, name).__name__ == name
