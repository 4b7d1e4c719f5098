"""YAML (or JSON, which is YAML as well) as people write it, read strictly. Pure: text in, value out."""

from __future__ import annotations

from functools import cache
from typing import Any

MERGE = "tag:yaml.org,2002:merge"
"""`<<`, which may stand in a mapping more than once (YAML's type repository, merge)."""


def parse_yaml(text: str | bytes) -> Any:
    """The one document in `text`. A key that stands twice in a mapping is an error: the last one would win in silence.

    Raises what PyYAML raises: its own errors, and ValueError or KeyError for such as `2001-99-99` or `!!bool maybe`.
    """
    import yaml

    return yaml.load(text, Loader=_strict())  # noqa: S506  a SafeLoader, stricter


@cache
def _strict() -> Any:
    import yaml

    class Strict(yaml.SafeLoader):
        def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
            node = super().compose_mapping_node(anchor)
            seen: set[tuple[str, str]] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
                    _once((key.tag, key.value), seen, key.start_mark)
            return node

    def _once(key: tuple[str, str], seen: set[tuple[str, str]], mark: Any) -> None:
        if key in seen:
            raise yaml.composer.ComposerError(None, None, f"key {key[1]!r} stands there twice", mark)
        seen.add(key)

    return Strict
