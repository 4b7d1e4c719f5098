"""Pins: the cluster that a context must lead to. A context is only a name, so its target is compared before each cut.

Pure except for file access: the caller supplies the observed cluster.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from chaosext.model.bounded_json import parse_json
from chaosext.model.errors import Refused
from chaosext.model.files import OWNER_ONLY, read_file, write_whole
from chaosext.model.paths import config_home

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


IDENTITY = ("context", "server", "ca_sha256", "kube_system_uid")
"""The fields of a pin that identify a cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """The identity of a cluster: the server of its context, its certificate authorities, and kube-system's UID.

    `production` is set by its owner: only approved experiments may run there (safety/approvals.py).
    """

    context: str
    server: str
    ca_sha256: str
    kube_system_uid: str
    production: bool = False


def verify(pinned: Pin, observed: Pin) -> None:
    """Raise `Refused`, naming each field that differs, if `observed` is not the pinned cluster."""
    differing = [
        f"{name} is {getattr(observed, name)}, pinned is {getattr(pinned, name)}"
        for name in IDENTITY
        if getattr(observed, name) != getattr(pinned, name)
    ]
    if differing:
        raise Refused(
            f"context {pinned.context} leads to another cluster than the pinned one: {'; '.join(differing)}",
            f"check the kubeconfig; if this cluster is right, run `chaosext pin --context {pinned.context} --replace`",
        )


def pins_path() -> Path:
    """`$XDG_CONFIG_HOME/chaosext/pins.json`, by default in `~/.config` (XDG Base Directory Specification)."""
    return config_home() / "pins.json"


def read_pins(path: Path | None = None) -> dict[str, Pin]:
    """Read the pins by context; empty without a file. Raises `Refused` if the file is not valid."""
    path = path or pins_path()
    try:
        return {context: Pin(**pin) for context, pin in parse_json(read_file(path)).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Refused(
            f"the pins in {path} can't be read ({error})", "repair the file or remove it"
        ) from error


def write_pin(pin: Pin, path: Path | None = None) -> None:
    """Add `pin`, replacing another one of its context. The file (mode 0600) is replaced atomically."""
    path = path or pins_path()
    pins = read_pins(path) | {pin.context: pin}
    _replace(path, {context: asdict(each) for context, each in sorted(pins.items())})


def remove_pin(context: str, path: Path | None = None) -> bool:
    """Remove the pin of `context`. Returns whether there was one."""
    path = path or pins_path()
    pins = read_pins(path)
    if pins.pop(context, None) is None:
        return False
    _replace(path, {name: asdict(each) for name, each in sorted(pins.items())})
    return True


def _replace(path: Path, content: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_whole(path, json.dumps(content, indent=2), fsync=True, mode=OWNER_ONLY)
