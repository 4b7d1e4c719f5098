"""A Go toolchain that is new enough: the machine's own, or the official one fetched as a module by an older Go."""

from __future__ import annotations

import functools
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from chaosext.model.errors import Refused
from chaosext.model.places import cache_home
from chaosext.testbed import versions
from chaosext.testbed.cache import kept, key_of
from chaosext.testbed.commands import run_command
from chaosext.testbed.engine import install_packages, is_debian

if TYPE_CHECKING:
    from chaosext.testbed.progress import Progress

MINIMUM_GO = (1, 26)  # Istio's go.mod says `go 1.26.0`; the other modules ask for less
DOWNLOAD_TIMEOUT_S = 900.0
TOOLCHAIN = str(versions.GO_TOOLCHAIN)
USUAL_PLACE = "/usr/local/go/bin"  # where go.dev/doc/install puts it, often not on root's PATH


def ensure_go(progress: Progress) -> None:
    """Have a Go of at least `MINIMUM_GO`; on Debian as root, one is fetched when there is none.

    Debian's own Go is too old to build with, but fetches the official toolchain, checked against Go's checksum
    database like every module. Raises `Refused` where neither is possible.
    """
    if _new_enough() is None:
        with progress.stage(f"Get Go {versions.GO_VERSION}"):
            older = _any_go() or _install_older_go()
            kept("go", TOOLCHAIN, lambda target: _fetch(older, target))
    find_go.cache_clear()


@functools.cache
def find_go() -> str:
    """The `go` command to build with. Raises `Refused` when there is none; see `ensure_go`."""
    go = _new_enough()
    if go is None:
        raise Refused("building from source needs Go, and there is none that is new enough", _fix())
    return go


def parse_version(text: str) -> tuple[int, ...]:
    """`(1, 26)` for `go1.26.8`, `go1.26rc1` or `go1.26-custom`; `(0,)` for what isn't a release."""
    parts = text.strip().removeprefix("go").split(".")[:2]
    digits = ["".join(_leading_digits(part)) for part in parts]
    return tuple(int(part) for part in digits) if all(digits) else (0,)


def _leading_digits(text: str) -> str:
    return text[: len(text) - len(text.lstrip("0123456789"))]


def _new_enough() -> str | None:
    candidates = (shutil.which("go"), shutil.which("go", path=USUAL_PLACE), _kept_go())
    return next((go for go in candidates if go and _version(go) >= MINIMUM_GO), None)


def _any_go() -> str | None:
    return shutil.which("go") or shutil.which("go", path=USUAL_PLACE)


def _kept_go() -> str | None:
    return shutil.which("go", path=str(cache_home() / f"go-{key_of(TOOLCHAIN)}" / "bin"))


def _version(go: str) -> tuple[int, ...]:
    return parse_version(run_command([go, "env", "GOVERSION"], timeout_s=60).stdout)


def _install_older_go() -> str:
    if os.geteuid() != 0 or not is_debian():
        raise Refused("building from source needs Go, and there is none", _fix())
    install_packages(("golang-go", "ca-certificates"))
    go = _any_go()
    if go is None:
        raise Refused("golang-go was installed, and still there is no `go` on PATH", _fix())
    return go


def _fetch(older: str, target: Path) -> None:
    argv = [older, "mod", "download", "-json", TOOLCHAIN]
    said = run_command(argv, timeout_s=DOWNLOAD_TIMEOUT_S, env={"GOFLAGS": "-modcacherw"}).stdout
    shutil.copytree(Path(json.loads(said)["Dir"]), target, dirs_exist_ok=True)
    for command in (*(target / "bin").iterdir(), *(target / "pkg/tool").glob("*/*")):
        command.chmod(0o755)  # a module's files are never executable


def _fix() -> str:
    return f"install Go {MINIMUM_GO[0]}.{MINIMUM_GO[1]} or newer and put it on PATH"
