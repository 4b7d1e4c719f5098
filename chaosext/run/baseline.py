"""What the paths were like before the latest cut of a cluster, kept so that another process can judge the cut."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from chaosext.model.errors import Refused
from chaosext.model.places import state_home
from chaosext.steady.cut import CutEvidence, Path
from chaosext.steady.tcp import Connect, Reach, Target

if TYPE_CHECKING:
    import pathlib

MAX_AGE_S = 3600.0
"""No cut lives longer (`Settings.max_ttl_s`), so an older baseline is not that of any cut in force."""


def save(context: str, evidence: CutEvidence) -> None:
    """Keep `evidence` for the cluster of `context`; the one before it is replaced. Raises `Refused` if it can't be."""
    path = _path(context)
    temporary = path.with_suffix(".tmp")
    text = json.dumps({"at": time.time(), "paths": [_row(evidence, each) for each in evidence.paths]})
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary.write_text(text)
        temporary.replace(path)
    except OSError as error:
        raise Refused(f"the state in {path.parent} can't be written ({error})", "permit it") from None


def load(context: str) -> CutEvidence | None:
    """The newest evidence for `context`; None where there is none, or none that still says anything."""
    try:
        value = json.loads(_path(context).read_text())
        if time.time() - value["at"] > MAX_AGE_S:
            return None
        return _evidence(value["paths"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _row(evidence: CutEvidence, path: Path) -> dict[str, Any]:
    connect = evidence.connects.get(path)
    reach = connect.reach if connect else Reach.UNKNOWN
    target = path.target
    return {
        "source": path.source,
        "towards": path.towards,
        "host": target.host,
        "port": target.port,
        "reach": reach.value,
    }


def _evidence(rows: list[dict[str, Any]]) -> CutEvidence:
    connects = {}
    for row in rows:
        path = Path(source=row["source"], towards=row["towards"], target=Target(row["host"], row["port"]))
        connects[path] = Connect(node=path.source, target=path.target, reach=Reach(row["reach"]))
    return CutEvidence(paths=tuple(connects), connects=connects)


def _path(context: str) -> pathlib.Path:
    name = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in context)
    return state_home() / f"baseline-{name}.json"
