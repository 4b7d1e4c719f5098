"""The paths before the latest cut of a cluster, kept so that another process can judge the cut."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from chaosext.checks.cut_effective import CutEvidence, LeftOut, Path
from chaosext.checks.tcp_reachability import Connect, Reach, Target
from chaosext.model.bounded_json import JSON_BYTES, parse_json
from chaosext.model.files import OWNER_ONLY, read_file, write_whole
from chaosext.model.paths import state_home

if TYPE_CHECKING:
    import pathlib

MAX_AGE_S = 3600.0
"""No cut lasts longer (`Settings.max_ttl_s`), so older evidence belongs to no active cut."""


def save(cluster_uid: str, evidence: CutEvidence) -> None:
    """Keep `evidence` for the cluster whose kube-system has this UID; replaces earlier evidence.

    Raises OSError when it can't be written.
    """
    path = _path(cluster_uid)
    paths, kept = ([_row(evidence, each) for each in some] for some in (evidence.paths, evidence.kept))
    left_out = {"paths": evidence.left_out.paths, "nodes": evidence.left_out.nodes}
    whole = {"at": time.time(), "paths": paths, "kept": kept, "blind": evidence.blind, "left_out": left_out}
    text = json.dumps(whole)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_whole(path, text, fsync=False, mode=OWNER_ONLY)


def load(cluster_uid: str) -> CutEvidence | None:
    """The newest evidence for that cluster; None if there is none, or it is too old."""
    try:
        value = parse_json(read_file(_path(cluster_uid), most=JSON_BYTES))
        if time.time() - value["at"] > MAX_AGE_S:
            return None
        return _evidence(value)
    except Exception:  # whatever is wrong with the file, it is not evidence
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


def _evidence(value: dict[str, Any]) -> CutEvidence:
    paths, kept = (dict(map(_connect, value[key])) for key in ("paths", "kept"))
    left_out = LeftOut(paths=int(value["left_out"]["paths"]), nodes=tuple(value["left_out"]["nodes"]))
    return CutEvidence(
        paths=tuple(paths),
        connects=paths | kept,
        blind=tuple(value["blind"]),
        kept=tuple(kept),
        left_out=left_out,
    )


def _connect(row: dict[str, Any]) -> tuple[Path, Connect]:
    path = Path(source=row["source"], towards=row["towards"], target=Target(row["host"], row["port"]))
    return path, Connect(node=path.source, target=path.target, reach=Reach(row["reach"]))


def _path(cluster_uid: str) -> pathlib.Path:
    return state_home() / f"baseline-{cluster_uid}.json"
