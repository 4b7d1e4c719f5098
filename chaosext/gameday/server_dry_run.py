"""Checks with server-side dry runs whether an API server would accept objects."""

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
    """Yield a line for each object that the server would reject. Raises `Unreachable` if it does not answer."""
    missing: set[str] = set()
    for each in objects:
        metadata = each["metadata"]
        if metadata.get("namespace") in missing:
            continue  # its namespace is one of the objects, and does not exist yet
        name = f"{each['kind']} {metadata.get('namespace', '')}/{metadata['name']}".replace(" /", " ")
        try:
            _ask(cluster, each)
        except NotFound as error:
            missing.add(str(metadata.get("namespace")))
            yield f"{name}: not checked, because its namespace does not exist yet ({error.message})"
        except Refused as error:
            yield f"{name}: {error.message}"


def _ask(cluster: Cluster, each: Manifest) -> None:
    """Create the object, or replace an existing one."""
    path, name = collection(each), each["metadata"]["name"]
    try:
        cluster.request("POST", path, query=DRY, body=each)
    except Conflict:
        found = cluster.request("GET", f"{path}/{name}")
        metadata = {**each["metadata"], "resourceVersion": found["metadata"]["resourceVersion"]}
        spec = {
            **found.get("spec", {}),
            **each.get("spec", {}),
        }  # fields that the server has filled in can't be removed
        cluster.request(
            "PUT",
            f"{path}/{name}",
            query=DRY,
            body={**found, **each, "metadata": metadata, **({"spec": spec} if spec else {})},
        )


def collection(each: Manifest) -> str:
    """Return the API path of an object's kind, in its namespace."""
    version, namespace = each["apiVersion"], each["metadata"].get("namespace")
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    where = f"/namespaces/{namespace}" if namespace else ""
    kind = each["kind"].lower()
    return f"{root}{where}/{f'{kind[:-1]}ies' if kind.endswith('y') else f'{kind}s'}"
