"""A test session's testbed: an existing one, or one brought up for the session and taken down after it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chaosext.model.errors import ChaosextError, Refused
from chaosext.testbed.bed_lock import locked
from chaosext.testbed.config import checked_name
from chaosext.testbed.containers import cluster_containers, find_container
from chaosext.testbed.kubectl import Kubectl, first_control_plane
from chaosext.testbed.leaf import leaf_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.testing.command import Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The testbed that a session requests.

    `options` are those of `testbed up`; if empty, any configuration will do. `keep`: a testbed that the
    session created stays.
    """

    name: str
    options: tuple[str, ...] = ()
    keep: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Testbed:
    """A testbed in its steady state. `context` is its Kubernetes context, pinned; `brought_up`: by this session."""

    __test__ = False  # so that pytest does not collect it

    name: str
    brought_up: bool
    _kubectl: Kubectl = field(repr=False)

    @property
    def context(self) -> str:
        return f"kind-{self.name}"

    def kubectl(self, *words: str, input: str | None = None, timeout_s: float = 60) -> str:
        """Run `kubectl WORDS` on the control-plane node and return its output.

        Raises:
            ChaosextError: it failed, or took longer than `timeout_s` seconds.
        """
        return self._kubectl.run(*words, input=input, timeout_s=timeout_s)


@contextmanager
def testbed(wish: Wish, chaosext: Command) -> Iterator[Testbed]:
    """Provide the testbed of `wish` to one session at a time; only a testbed that was created here is removed.

    Raises `Refused` for an invalid name, `ChaosextError` if no steady testbed can be provided.
    """
    name = checked_name(wish.name)
    with locked(f"pytest-{name}", lambda: chaosext.say(f"waiting for the session that uses testbed {name}")):
        found = _is_there(name)
        try:
            if wish.options or not found:
                _bring_up(wish, chaosext)
            else:
                _require_steady(name, chaosext)
            yield Testbed(name=name, brought_up=not found, _kubectl=Kubectl(first_control_plane(name)))
        finally:
            if not found:
                _take_down(wish, chaosext)


def _is_there(name: str) -> bool:
    """Return whether any part of a testbed of that name exists: then it is not this session's to remove."""
    return find_container(leaf_name(name)) is not None or bool(cluster_containers(name))


def _bring_up(wish: Wish, chaosext: Command) -> None:
    words = ("testbed", "up", "--name", wish.name, "--json", *wish.options)
    if exit_code := chaosext(*words).exit_code:
        said = f"`chaosext {' '.join(words)}` ended with exit code {exit_code}"
        raise ChaosextError(said, "see its output above")


def _require_steady(name: str, chaosext: Command) -> None:
    done = chaosext("testbed", "status", "--name", name, "--json")
    if done.exit_code:
        missing = json.loads(done.stdout)["missing"] if done.stdout else ["it does not answer"]
        fix = f"run `chaosext testbed up --name {name}`, or remove it"
        raise Refused(f"testbed {name} exists, but is not steady: {'; '.join(missing)}", fix)


def _take_down(wish: Wish, chaosext: Command) -> None:
    by_hand = f"chaosext testbed down --name {wish.name}"
    if wish.keep:
        chaosext.say(f"testbed {wish.name} stays: {by_hand}")
    elif exit_code := chaosext("testbed", "down", "--name", wish.name).exit_code:
        chaosext.say(f"testbed {wish.name} may still exist (exit code {exit_code}): {by_hand}")
