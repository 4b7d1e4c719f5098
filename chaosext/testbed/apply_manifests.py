"""Kubernetes manifests as plain dictionaries: read from YAML, changed by pure functions, written as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

Manifest = dict[str, Any]
"""One Kubernetes object as it is applied."""


def parse_documents(text: str) -> list[Manifest]:
    """The objects of a multi-document YAML text, empty documents left out."""
    import yaml

    loader = getattr(
        yaml, "CSafeLoader", yaml.SafeLoader
    )  # the C loader reads Calico's 5,000 lines in no time
    return [document for document in yaml.load_all(text, Loader=loader) if document]


def to_list(objects: Iterable[Manifest]) -> str:
    """The objects as one JSON `List`, which kubectl reads faster than YAML."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def namespace(name: str, *, labels: dict[str, str] | None = None) -> Manifest:
    """A namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}}
