"""A cluster's API as the checks ask it, made of plain objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chaosext.cluster import objects
from chaosext.cluster.client import NotFound
from chaosext.rehearsal.snapshot.prune import WANTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

KIND_OF = {each.plural: each.kind for each in WANTED}


class ApiOfObjects:
    """Serves objects page by page, and by name. `absent`: kinds that the cluster doesn't know."""

    context = "kind-small"

    def __init__(self, found: Iterable[dict[str, Any]], absent: Iterable[str] = ()) -> None:
        self._found, self._absent = tuple(found), frozenset(absent)
        self.lists = 0

    def pages(self, plural: str, **_: Any) -> Iterator[dict[str, Any]]:
        kind = KIND_OF[plural]
        if kind in self._absent:
            raise NotFound(f"the cluster doesn't know {kind}")
        self.lists += 1
        yield {"items": [each for each in self._found if each["kind"] == kind]}

    def request(self, _method: str, path: str, **_: Any) -> dict[str, Any]:
        name = path.rpartition("/")[2]
        if name == "version":
            return {"gitVersion": "v1.34.4"}
        for each in self._found:
            if each["kind"] == "ConfigMap" and each["metadata"]["name"] == name:
                return each
        raise NotFound(path)

    def get(self, kind: str, name: str, **_: Any) -> dict[str, Any]:
        return self.request("GET", f"/{kind}/{name}")

    def nodes(self) -> tuple[objects.Node, ...]:
        found = (each for each in self._found if each["kind"] == "Node")
        return tuple(map(objects.Node.from_json, found))
