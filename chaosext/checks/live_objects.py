"""Reads a live cluster's objects: read-only, page by page, only the fields that a rehearsal needs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from chaosext.cluster.client import Cluster, NotFound, resource_path
from chaosext.model.errors import Refused, understood
from chaosext.rehearsal.snapshot.prune import WANTED, least

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chaosext.rehearsal.snapshot.prune import ObjectKind

NEEDED = ("nodes", "pods")
"""A snapshot needs these; other missing kinds are reported, and a rehearsal makes assumptions."""


@dataclass(slots=True, kw_only=True)
class Taking:
    """A snapshot in progress. `kinds`: those that were read; `counts`: objects of each.

    `missed`: kind -> why the cluster has none, or doesn't show it. `named`: objects that were asked for by name.
    `wanted`: the kinds to read.
    """

    cluster: Cluster
    page_s: float
    wanted: Sequence[ObjectKind] = WANTED
    kinds: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    missed: dict[str, str] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)

    def items(self) -> Iterator[dict[str, Any]]:
        """Every object, reduced to the fields that are needed.

        Raises `Refused` if nodes or Pods may not be read, and `Unreachable` if a page takes longer than `page_s`.
        """
        for wanted in self.wanted:
            if wanted.needs and wanted.needs not in self.named:
                continue
            try:
                yield from self._of(wanted)
            except NotFound:
                if not wanted.name:
                    self.missed[wanted.kind] = "the cluster doesn't know this kind"
            except Refused as error:
                if wanted.plural in NEEDED:
                    raise
                self.missed[wanted.kind] = error.message
            else:
                if wanted.kind not in self.kinds:
                    self.kinds.append(wanted.kind)

    def _of(self, wanted: ObjectKind) -> Iterator[dict[str, Any]]:
        self.counts.setdefault(wanted.kind, 0)
        for page in self._pages(wanted):
            with understood(f"the API server of context {self.cluster.context}"):
                kept = [least(wanted, item) for item in page.get("items") or ()]
            self.counts[wanted.kind] += len(kept)
            yield from kept

    def _pages(self, wanted: ObjectKind) -> Iterator[dict[str, Any]]:
        namespace = wanted.namespace or None
        if wanted.name:
            path = resource_path(wanted.plural, wanted.name, namespace=namespace)
            found = self.cluster.request("GET", path, timeout_s=self.page_s)
            self.named.add(wanted.name)
            yield {"items": [found]}
            return
        yield from self.cluster.pages(wanted.plural, namespace=namespace, timeout_s=self.page_s)

    def about(self) -> dict[str, Any]:
        """The snapshot's metadata, once all items are taken."""
        version = self.cluster.request("GET", "/version", timeout_s=self.page_s).get("gitVersion")
        return {
            "taken_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "version": str(version or ""),
            "kinds": self.kinds,
            "missed": self.missed,
        }

    def text(self) -> Iterator[str]:
        """The whole snapshot as a Kubernetes List, one object a line."""
        between = ""
        yield '{"apiVersion":"v1","kind":"List","items":['
        for item in self.items():
            yield f"{between}\n{json.dumps(item, separators=(',', ':'))}"
            between = ","
        yield f'\n],"chaosext":{json.dumps(self.about())}}}\n'
