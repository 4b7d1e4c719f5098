"""What the paths were like before the latest cut of a cluster, kept so that another process can judge the cut."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from chaosext.model.places import state_home
from chaosext.steady.cut import CutEvidence, Path
from chaosext.steady.tcp import Connect, Reach, Target

if TYPE_CHECKING:
    import pathlib

MAX_AGE_S = 3600.0
"""No cut lives longer (`Settings.max_ttl_s`), so an older baseline is not that of any cut in force."""


def save(cluster_uid: str, evidence: CutEvidence) -> None:
    """Keep `evidence` for the cluster whose kube-system has this UID, instead of the one before it.

    Raises OSError when it can't be written.
    """
    path = _path(cluster_uid)
    temporary = path.with_suffix(".tmp")
    rows = [_row(evidence, each) for each in evidence.paths]
    text = json.dumps({"at": time.time(), "paths": rows, "blind": evidence.blind})
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary.write_text(text)
    temporary.replace(path)


def load(cluster_uid: str) -> CutEvidence | None:
    """The newest evidence for that cluster; None where there is none, or none that still says anything."""
    try:
        value = json.loads(_path(cluster_uid).read_text())
        if time.time() - value["at"] > MAX_AGE_S:
            return None
        return _evidence(value["paths"], value["blind"])
    except Exception:  # whatever the file holds instead, it says nothing
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


def _evidence(rows: list[dict[str, Any]], blind: list[str]) -> CutEvidence:
    connects = {}
    for row in rows:
        path = Path(source=row["source"], towards=row["towards"], target=Target(row["host"], row["port"]))
        connects[path] = Connect(node=path.source, target=path.target, reach=Reach(row["reach"]))
    return CutEvidence(paths=tuple(connects), connects=connects, blind=tuple(blind))


def _path(cluster_uid: str) -> pathlib.Path:
    return state_home() / f"baseline-{cluster_uid}.json"
