"""Builds commands from Go modules, with a Go toolchain that is new enough.

A small module of our own requires upstream's, so that `replace` is ours to say. Static (CGO off), trimmed and stripped:
the binaries need nothing but a kernel and are the same in every directory.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from chaosext.model.errors import Refused
from chaosext.model.paths import cache_home
from chaosext.testbed.cache import kept, key_of, log_file
from chaosext.testbed.commands import run_command
from chaosext.testbed.versions import ARCHITECTURE
from hack.apt import install_packages, is_debian

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.testbed.stage_progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class GoModule:
    """A Go module at one version, as `go mod download PATH@VERSION` takes it."""

    path: str
    version: str

    def __str__(self) -> str:
        return f"{self.path}@{self.version}"


MINIMUM_GO = (1, 26)  # Istio's go.mod says `go 1.26.0`; the other modules ask for less
GO_VERSION = "1.26.8"
# Go publishes its toolchains as modules, for its own `toolchain` lines (go.dev/doc/toolchain).
TOOLCHAIN = str(GoModule(path="golang.org/toolchain", version=f"v0.0.1-go{GO_VERSION}.linux-{ARCHITECTURE}"))
USUAL_PLACE = "/usr/local/go/bin"  # where go.dev/doc/install puts it, often not on root's PATH

DOWNLOAD_TIMEOUT_S = 900
BUILD_TIMEOUT_S = 3600
NEEDED_GIB = 8  # Kubernetes, the biggest: about 5 GiB of Go's caches and 1 GiB of binaries
LANGUAGE = "1.24.0"  # of the small module, unless upstream's asks for a newer one
GO_ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GoBuild:
    """Commands to build from one module, or (`module` None) from `main` and the standard library alone.

    `commands` maps import paths to the file names that we want. `replaces` maps module paths to `PATH VERSION` as
    go.mod writes it. `variables` are strings set at link time (`-X`). `main` is Go source of a command of our own,
    built as `name`.
    """

    name: str
    module: GoModule | None
    commands: Mapping[str, str] = field(default_factory=dict)
    replaces: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    main: str = ""
    language: str = LANGUAGE

    @property
    def go_mod(self) -> str:
        """The text of the small module's go.mod."""
        replaces = "".join(f"\t{old} => {new}\n" for old, new in sorted(self.replaces.items()))
        require = f"require {self.module.path} {self.module.version}\n\n" if self.module else ""
        return f"module chaosext.local/{self.name}\n\ngo {self.language}\n\n{require}replace (\n{replaces})\n"

    @property
    def title(self) -> str:
        """Name and version, for people."""
        return f"{self.name} {self.module.version}" if self.module else self.name

    @property
    def flags(self) -> list[str]:
        """Flags of `go build`."""
        variables = "".join(f" -X {name}={value}" for name, value in self.variables.items())
        tags = [f"-tags={','.join(self.tags)}"] if self.tags else []
        return ["-mod=mod", "-trimpath", *tags, "-ldflags", f"-s -w{variables}"]

    @property
    def inputs(self) -> object:
        """Everything that decides what comes out."""
        return [self.go_mod, dict(self.commands), self.flags, self.main, GO_ENVIRONMENT]


def ensure_go_commands(build: GoBuild, progress: Progress) -> Path:
    """The directory that holds the commands of `build`, built now unless they are kept from before."""
    return kept(
        build.name,
        build.inputs,
        lambda target: _build(build, target),
        lambda: progress.stage(f"Build {build.title} from source"),
    )


def module_directory(module: GoModule) -> Path:
    """The read-only directory of `module` in Go's module cache, downloaded when it isn't there."""
    argv = [find_go(), "mod", "download", "-json", str(module)]
    said = run_command(argv, timeout_s=DOWNLOAD_TIMEOUT_S, env=GO_ENVIRONMENT).stdout
    return Path(json.loads(said)["Dir"])


def module_replaces(module: GoModule) -> dict[str, str]:
    """The `replace` lines of `module` that name another module (not a directory), as `GoBuild.replaces` takes them."""
    go_mod = module_directory(module) / "go.mod"
    said = run_command([find_go(), "mod", "edit", "-json", go_mod], timeout_s=60).stdout
    replaces = json.loads(said).get("Replace") or []
    return {
        one["Old"]["Path"]: f"{one['New']['Path']} {one['New']['Version']}"
        for one in replaces
        if "Version" in one["New"]
    }


def module_language(module: GoModule) -> str:
    """The version of Go, such as "1.26.0", that `module` asks for."""
    go_mod = module_directory(module) / "go.mod"
    said = run_command([find_go(), "mod", "edit", "-json", go_mod], timeout_s=60).stdout
    return str(json.loads(said)["Go"])


def module_requirements(module: GoModule) -> dict[str, str]:
    """Path and version of each module that `module` requires."""
    go_mod = module_directory(module) / "go.mod"
    said = run_command([find_go(), "mod", "edit", "-json", go_mod], timeout_s=60).stdout
    return {one["Path"]: one["Version"] for one in json.loads(said)["Require"]}


def _refuse_without_space(directory: Path) -> None:
    free_gib = shutil.disk_usage(directory).free / 2**30
    if free_gib < NEEDED_GIB:
        raise Refused(
            f"building from source needs {NEEDED_GIB} GiB, and {directory} has {free_gib:.1f} GiB free",
            "free some space: `go clean -cache` helps",
        )


def _build(build: GoBuild, target: Path) -> None:
    _refuse_without_space(target)
    module = target / "src"
    module.mkdir()
    (module / "go.mod").write_text(build.go_mod)
    if build.main:
        (module / "main.go").write_text(build.main)
    packages = [*build.commands, *(["."] if build.main else [])]
    argv = [find_go(), "build", *build.flags, "-o", f"{target}/", *packages]
    run_command(argv, timeout_s=BUILD_TIMEOUT_S, env=GO_ENVIRONMENT, cwd=module, log=log_file(build.name))
    for package, name in build.commands.items():
        (target / _built_name(package)).rename(target / name)
    shutil.rmtree(module)


def _built_name(package: str) -> str:
    """The file name that `go build` chooses: the last element that isn't a major version."""
    parts = [part for part in package.split("/") if not re.fullmatch(r"v[0-9]+", part)]
    return parts[-1]


def ensure_go(progress: Progress) -> None:
    """Have a Go of at least `MINIMUM_GO`; on Debian as root, one is fetched when there is none.

    Debian's own Go is too old to build with, but fetches the official toolchain, checked against Go's checksum
    database like every module. Raises `Refused` where neither is possible.
    """
    if _new_enough() is None:
        with progress.stage(f"Get Go {GO_VERSION}"):
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
