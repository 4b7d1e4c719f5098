"""Read a sentinel's configuration from its environment. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from chaosext.model.errors import Refused
from chaosext.sentinel.watch_loop import check
from chaosext.sentinel.watch_plan import WatchPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

TOKEN_LENGTH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelOptions:
    """`host` and `port`: where it listens. `directory`: where it keeps its record. `token`: what clients must send."""

    node: str
    host: str
    port: int
    token: str = field(repr=False)
    plan: WatchPlan
    directory: Path

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Parse the environment. Raises `Refused` naming the variable."""

        def value(name: str, parse: Callable[[str], T]) -> T:
            try:
                return parse(environ[name])
            except KeyError:
                raise Refused(f"{name} is not set") from None
            except ValueError as error:
                raise Refused(f"{name}: {error}") from error

        return cls(
            node=value("CHAOSEXT_NODE", _text),
            host=value("CHAOSEXT_HOST_IP", _address),
            port=value("CHAOSEXT_PORT", _port),
            token=value("CHAOSEXT_TOKEN", _token),
            plan=value("CHAOSEXT_PLAN", _plan),
            directory=value("CHAOSEXT_RECORD_DIR", _directory),
        )


def _text(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    return text


def _address(text: str) -> str:
    """Accept a single address only, so that the sentinel does not listen on all addresses of the node."""
    address = ip_address(text)
    if address.is_unspecified:
        raise ValueError(f"{text} is every address, not one")
    return text


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 16):
        raise ValueError(f"{text[:20]!r} is not a port from 1 to 65535")
    return int(text)


def _token(text: str) -> str:
    if len(text) < TOKEN_LENGTH or not (text.isascii() and text.isprintable()):
        raise ValueError(f"is shorter than {TOKEN_LENGTH} characters, or not of ASCII")
    return text


def _plan(text: str) -> WatchPlan:
    plan = WatchPlan.parse(text)
    check(plan)
    return plan


def _directory(text: str) -> Path:
    if not (Path(text).is_absolute() and Path(text).is_dir()):
        raise ValueError(f"{text!r} is not a directory with an absolute path")
    return Path(text)
