"""`run/<id>/`: everything a run leaves for people and machines; `run/latest` points to the newest."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaosext.model.errors import Refused
from chaosext.model.files import Folder, write_whole
from chaosext.model.printable import json_text
from chaosext.model.redact import veiled, veiled_whole
from chaosext.model.run_id import RunId

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_ROOT = Path("run")
ROOT_VARIABLE = "CHAOSEXT_RUN_DIR"
LATEST = "latest"

ROOM_BYTES = 256 * 1024
"""What must fit on a disk before anything is touched: ten times what a run of minutes was seen to write."""


def require_room(directory: Path, what: str, setting: str) -> None:
    """Raise `Refused`, naming `what` is kept there and the `setting` that moves it, unless there are `ROOM_BYTES`."""
    with _refused(f"{what} directory {directory}", setting):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with Folder(directory) as folder:
            folder.require_room(ROOM_BYTES)


@contextmanager
def _refused(what: str, setting: str) -> Iterator[None]:
    """Within it, an OSError is a refusal that names `what` and the `setting` that names another directory."""
    try:
        yield
    except OSError as error:
        fix = f"set {setting} to a directory that you may write to, with {ROOM_BYTES // 1024} KiB free"
        raise Refused(f"{what}: {error.strerror}", fix) from None


def found_run(name: str, root: Path | None = None) -> Path:
    """The directory of the run that a person named by its directory, its id, or `latest`.

    Raises `Refused` for what is none of these, and for a link that another user has made, or that leads no run.
    """
    root = root or default_root()
    try:
        is_path = name and Path(name).is_dir()
        found = Path(name) if is_path else root / RunId(_newest(root) if name == LATEST else name)
        _require_own_link(found)
        return found.resolve()
    except ValueError:
        what = f"{name}: neither a directory nor the id of a run"
        raise Refused(what, f"name a run's directory, its id, or `{LATEST}`") from None
    except (OSError, RuntimeError) as error:  # a link that leads to itself is an error of either kind
        why = getattr(error, "strerror", None) or "a link that leads to itself"
        raise Refused(f"{name}: {why}", "name the run's directory itself") from None


def _newest(root: Path) -> str:
    """The run that `latest` is, or leads to."""
    link = root / LATEST
    return str(link.readlink()) if link.is_symlink() else LATEST


def default_root() -> Path:
    """`$CHAOSEXT_RUN_DIR`, by default `run` in the working directory."""
    return Path(os.environ.get(ROOT_VARIABLE, DEFAULT_ROOT))


class RunDirectory:
    """The directory of one run. Raises `Refused` where it can't be made, before anything is touched.

    `path` is its name for people; `inside` is the same directory as it was made, whatever becomes of its name.
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
                raise PermissionError(0, "another user has put a directory of his in its place")
            self._folder.require_room(ROOM_BYTES)
        self.inside = self._folder.inside

    def write_json(self, name: str, value: Any) -> None:
        """Write `value`, without what must not be said, to the file `name` whole or not at all."""
        text = json_text(veiled_whole(value), default=lambda each: veiled(str(each)))
        write_whole(self.inside / name, f"{text}\n", fsync=True)


def _require_own_link(path: Path) -> None:
    """Raise OSError for a link that another user has put where runs are kept, as anybody can in /tmp."""
    if path.is_symlink() and path.lstat().st_uid not in (0, os.geteuid()):
        raise PermissionError(0, f"{path} is a link that another user made")
