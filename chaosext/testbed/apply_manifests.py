"""Kubernetes manifests as plain dictionaries: parse YAML, and write a JSON `List`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

Manifest = dict[str, Any]
"""One Kubernetes object, as it is applied."""


def parse_documents(text: str) -> list[Manifest]:
    """Parse a multi-document YAML text; empty documents are left out."""
    import yaml

    loader = getattr(
        yaml, "CSafeLoader", yaml.SafeLoader
    )  # the C loader is much faster on Calico's 5,000 lines
    return [document for document in yaml.load_all(text, Loader=loader) if document]


def to_list(objects: Iterable[Manifest]) -> str:
    """Return the objects as one JSON `List`, which kubectl reads faster than YAML."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def namespace(name: str, *, labels: dict[str, str] | None = None) -> Manifest:
    """Return a Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}}
