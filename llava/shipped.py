"""The files of settings that travel with the package: ``configs/`` of a clone, ``llava/settings/`` of a wheel."""

import difflib
from pathlib import Path

_PACKAGE = Path(__file__).parent
_CLONE = "configs"


def settings_folder() -> Path:
    """Where the shipped settings lie."""
    installed = _PACKAGE / "settings"
    return installed if installed.is_dir() else _PACKAGE.parent / _CLONE


def settings_names() -> list[str]:
    """The names of all shipped settings, such as ``train/shirg_x``."""
    folder = settings_folder()
    return sorted(str(file.relative_to(folder).with_suffix("")) for file in folder.rglob("*.yaml"))


def shipped(name: str | Path) -> Path | None:
    """The shipped file of a name, unless something lies at it as a path; None if there is none."""
    asked = _plain(Path(name))
    if Path(name).exists() or asked.is_absolute() or ".." in asked.parts:
        return None
    choices = (settings_folder() / asked, settings_folder() / f"{asked}.yaml")
    return next((file for file in choices if file.is_file()), None)


def find_settings(name: str | Path) -> Path:
    """The file at a path, or the shipped one of that name: ``train/shirg_x``, or ``configs/train/shirg_x.yaml``.

    What lies at the path comes first. Names of other files than YAML, such as DeepSpeed's JSON, have their ending.

    Raises:
        FileNotFoundError: if there is neither, naming the shipped ones that come close.
    """
    path = Path(name)
    if path.is_file():
        return path
    if (found := shipped(path)) is not None:
        return found
    asked = _plain(path)
    close = difflib.get_close_matches(str(asked.with_suffix("")), settings_names(), n=3)
    hint = f"; shipped settings of such a name: {', '.join(close)}" if close else ""
    raise FileNotFoundError(f"there is no file {name}; check the path{hint}")


def _plain(path: Path) -> Path:
    return path.relative_to(_CLONE) if path.parts[:1] == (_CLONE,) else path
