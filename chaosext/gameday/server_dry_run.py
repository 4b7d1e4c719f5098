"""Whether an API server would take objects: asked with dryRun, so that nothing is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.cluster.client import Conflict, NotFound
from chaosext.model.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chaosext.cluster.client import Cluster
    from chaosext.gameday.manifests import Manifest

DRY = {"dryRun": "All", "fieldValidation": "Strict"}


def untaken(cluster: Cluster, objects: Iterable[Manifest]) -> Iterator[str]:
    """A line for each object that the server would not take. Raises `Unreachable` where it doesn't answer."""
    missing: set[str] = set()
    for each in objects:
        metadata = each["metadata"]
        if metadata.get("namespace") in missing:
            continue  # there is no place for it yet: the namespace is among the objects
        name = f"{each['kind']} {metadata.get('namespace', '')}/{metadata['name']}".replace(" /", " ")
        try:
            _ask(cluster, each)
        except NotFound as error:
            missing.add(str(metadata.get("namespace")))
            yield f"{name}: not checked, because its namespace does not exist yet ({error.message})"
        except Refused as error:
            yield f"{name}: {error.message}"


def _ask(cluster: Cluster, each: Manifest) -> None:
    """Create it; what is there already is replaced instead."""
    path, name = collection(each), each["metadata"]["name"]
    try:
        cluster.request("POST", path, query=DRY, body=each)
    except Conflict:
        found = cluster.request("GET", f"{path}/{name}")
        metadata = {**each["metadata"], "resourceVersion": found["metadata"]["resourceVersion"]}
        spec = {
            **found.get("spec", {}),
            **each.get("spec", {}),
        }  # what was filled in there can't be taken out
        cluster.request(
            "PUT",
            f"{path}/{name}",
            query=DRY,
            body={**found, **each, "metadata": metadata, **({"spec": spec} if spec else {})},
        )


def collection(each: Manifest) -> str:
    """The API path of an object's kind, in its namespace."""
    version, namespace = each["apiVersion"], each["metadata"].get("namespace")
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    where = f"/namespaces/{namespace}" if namespace else ""
    kind = each["kind"].lower()
    return f"{root}{where}/{f'{kind[:-1]}ies' if kind.endswith('y') else f'{kind}s'}"
