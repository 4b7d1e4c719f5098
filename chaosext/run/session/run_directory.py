"""`run/<id>/`: all output files of a run; `run/latest` points to the newest."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaosext.model.errors import Refused
from chaosext.model.files import Folder, write_whole
from chaosext.model.names import RunId
from chaosext.model.printable import json_text
from chaosext.model.redact import veiled, veiled_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_ROOT = Path("run")
ROOT_VARIABLE = "CHAOSEXT_RUN_DIR"
LATEST = "latest"

MOST_RUNS = 10_000
"""How many names a directory of runs may have to be listed."""

ROOM_BYTES = 256 * 1024
"""Free bytes required before anything is touched: ten times what a run of minutes writes."""


def require_room(directory: Path, what: str, setting: str) -> None:
    """Raise `Refused`, naming `what` is kept there and the `setting` that moves it, without `ROOM_BYTES` free bytes."""
    with _refused(f"{what} directory {directory}", setting):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with Folder(directory) as folder:
            folder.require_room(ROOM_BYTES)


@contextmanager
def _refused(what: str, setting: str) -> Iterator[None]:
    """Turn an OSError into a refusal that names `what` and the `setting` for another directory."""
    try:
        yield
    except OSError as error:
        fix = f"set {setting} to a writable directory with {ROOM_BYTES // 1024} KiB of free space"
        raise Refused(f"{what}: {error.strerror}", fix) from None


def found_run(name: str, root: Path | None = None) -> Path:
    """The directory of a run, given by its directory, its id, or `latest`.

    Raises `Refused` for anything else, and for a link that another user has made, or that leads to no run.
    """
    root = root or default_root()
    try:
        is_path = name and Path(name).is_dir()
        found = Path(name) if is_path else root / RunId(_newest(root) if name == LATEST else name)
        _require_own_link(found)
        return found.resolve()
    except ValueError:
        what = f"{name}: neither a directory nor the id of a run"
        raise Refused(what, f"give a run's directory, its id, or `{LATEST}`") from None
    except (OSError, RuntimeError) as error:  # a link that leads to itself is an error of either kind
        why = getattr(error, "strerror", None) or "a link that leads to itself"
        raise Refused(f"{name}: {why}", "give the run's directory itself") from None


def _newest(root: Path) -> str:
    """The run that `latest` points to."""
    link = root / LATEST
    return str(link.readlink()) if link.is_symlink() else LATEST


def kept_runs(root: Path | None = None) -> tuple[str, ...]:
    """Return the ids of the runs kept in `root`, the newest first, and `latest` if there is any."""
    with Folder(root or default_root()) as folder:
        names = [name for name in folder.names(most=MOST_RUNS) if name[:8].isdigit()]
    return (LATEST, *reversed(names)) if names else ()


def default_root() -> Path:
    """`$CHAOSEXT_RUN_DIR`, by default `run` in the working directory."""
    return Path(os.environ.get(ROOT_VARIABLE, DEFAULT_ROOT))


class RunDirectory:
    """The directory of one run. Raises `Refused` if it can't be created, before anything is touched.

    `path` is its name for people; `inside` is the same directory by its descriptor, whatever happens to the name.
    """

    def __init__(self, run: str, root: Path | None = None) -> None:
        self.run = RunId(run)
        self.root = (root or default_root()).absolute()
        self.path = self.root / run
        with _refused(f"run directory {self.path}", f"{ROOT_VARIABLE} or --run-dir"):
            self.root.mkdir(parents=True, exist_ok=True)
            _require_own_link(self.root)
            with Folder(self.root) as root_folder:
                self._folder = root_folder.make_folder(run)
                root_folder.link(LATEST, run)
            if self._folder.owner != os.geteuid():
                raise PermissionError(0, "another user has replaced it with a directory")
            self._folder.require_room(ROOM_BYTES)
        self.inside = self._folder.inside

    def write_json(self, name: str, value: Any, *, indent: int | None = 2) -> None:
        """Write `value` without secrets to the file `name`, atomically."""
        text = json_text(veiled_whole(value), indent=indent, default=lambda each: veiled(str(each)))
        write_whole(self.inside / name, f"{text}\n", fsync=True)


def _require_own_link(path: Path) -> None:
    """Raise OSError for another user's link in the place of runs, as any user can create in /tmp."""
    if path.is_symlink() and path.lstat().st_uid not in (0, os.geteuid()):
        raise PermissionError(0, f"{path} is a link that another user made")
