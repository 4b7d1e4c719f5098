"""Write YAML for people and for `kubectl`: block style, long texts as they are, nothing invisible."""

from __future__ import annotations

from functools import cache
from typing import Any

from chaosext.model.printable import printable


def as_yaml(*documents: Any) -> str:
    """Return a stream of YAML documents. Texts of several lines are blocks, so that a ConfigMap is readable.

    Characters that a terminal would obey, or not display, are escaped.
    """
    import yaml

    text: str = yaml.dump_all(documents, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=10**6)
    return printable(text)


@cache
def _dumper() -> Any:
    import yaml

    base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # libyaml's, ten times as fast

    class Dumper(base):  # type: ignore[misc]
        """Writes every value where it stands, without anchors."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: Any, said: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", said, style=_style(said))

    Dumper.add_representer(str, text)
    return Dumper


def _style(said: str) -> str | None:
    """Return a text's style: quoted if it has invisible characters, whose escapes need that; else the plainest."""
    if printable(said) != said:
        return '"'
    return "|" if "\n" in said else None
