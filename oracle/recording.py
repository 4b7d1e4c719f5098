"""What a real control plane did: the snapshot before the cut, the cut, and every event after it, in one small file."""

from __future__ import annotations

import gzip
import json
import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from chaosext.model.timeline import Event
from chaosext.rehearsal.simulate.planned_cut import Plan
from chaosext.rehearsal.snapshot.reader import read_snapshot
from chaosext.testbed.versions import KUBERNETES_VERSION

if TYPE_CHECKING:
    from chaosext.rehearsal.snapshot.world import World

BEYOND_S = 30.0
"""The rehearsal's horizon lies so far beyond the end of a recording: ranges that reach over it stay whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One scenario, played once. `snapshot` are the API's own lists; `…_flags` were in force; `kubernetes` was played.

    `watched_s`: when the recording ends, from the cut. `dns_hosts`: the nodes of kube-dns' ready endpoints then.
    `late_s`: the longest that a sleeping thread was kept waiting for the CPU: above a second, times say little.
    """

    scenario: str
    seed: int
    cut_nodes: tuple[str, ...]
    cut_for_s: float
    watched_s: float
    controller_manager_flags: tuple[str, ...]
    apiserver_flags: tuple[str, ...]
    late_s: float
    dns_hosts: tuple[str, ...]
    snapshot: tuple[dict[str, Any], ...]
    events: tuple[Event, ...]
    kubernetes: str = KUBERNETES_VERSION

    @property
    def title(self) -> str:
        """The scenario, and the version of Kubernetes unless it is the usual one."""
        return (
            self.scenario if self.kubernetes == KUBERNETES_VERSION else f"{self.scenario}, {self.kubernetes}"
        )

    @property
    def world(self) -> World:
        """The snapshot, read as `chaosext rehearse` reads it.

        No Pod of Calico shows its network, and nothing shows what else a reader must assume: both are given.
        """
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory, "snapshot.json")
            file.write_text("\n".join(map(json.dumps, self.snapshot)))
            world = read_snapshot(
                [file],
                controller_manager_args=self.controller_manager_flags,
                apiserver_args=self.apiserver_flags,
            )
        return replace(world, network=replace(world.network, doubts=()), alternatives=())

    @property
    def plan(self) -> Plan:
        """The cut, as the rehearsal takes it."""
        return Plan(
            cut_nodes=frozenset(self.cut_nodes),
            cut_for_s=self.cut_for_s,
            horizon_s=self.watched_s + BEYOND_S,
        )

    @property
    def name(self) -> str:
        """As a file's name."""
        return f"{re.sub(r'[^a-z0-9+]+', '-', self.title.lower())}.{self.seed}"

    def save(self, directory: Path) -> Path:
        """Written as `NAME.json.gz`, the same bytes for the same recording."""
        file = directory / f"{self.name}.json.gz"
        said = {field: getattr(self, field) for field in self.__slots__}
        said["events"] = [event.to_json() for event in self.events]
        directory.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(json.dumps(said, sort_keys=True).encode(), mtime=0))
        return file

    @classmethod
    def load(cls, file: Path) -> Self:
        """Raises KeyError, TypeError or ValueError for what `save` did not write."""
        said = json.loads(gzip.decompress(file.read_bytes()))
        lists = {key: tuple(value) for key, value in said.items() if isinstance(value, list)}
        events = msgspec.convert(said["events"], tuple[Event, ...])
        return cls(**{**said, **lists, "events": events})
