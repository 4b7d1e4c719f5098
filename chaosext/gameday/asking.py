"""One cluster of a fleet: a snapshot of it, rehearsed or held against a plan; what came of it is kept beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaosext.gameday.fleet import CLUSTERS_DIR
from chaosext.model.errors import Refused, Unreachable
from chaosext.model.files import read_file, write_whole
from chaosext.model.printable import json_text, printable
from chaosext.model.untrusted import parse_json
from chaosext.model.veil import veiled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chaosext.gameday.fleet import Fleet, Member

SNAPSHOT_FILE, ANSWER_FILE, SUMMARY_FILE = "snapshot.json.gz", "answer.json", "summary.json"
SAID = 3

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What came of one cluster. `verdict`: as rehearsal or gate say it; "failed" where neither could be asked."""

    cluster: str
    verdict: str
    exit_code: int
    why: tuple[str, ...] = ()

    def __str__(self) -> str:
        why = f": {'; '.join(self.why[:SAID])}" if self.why else ""
        return f"{self.cluster}: {self.verdict} (exit {self.exit_code}){why}"

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": "chaosext.fleet/v1",
            "cluster": self.cluster,
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "why": list(self.why),
        }


def member_at(fleet: Fleet, index: int) -> Member:
    """The cluster of a Job's index. Raises `Refused` for an index that there is not."""
    if not 0 <= index < len(fleet.clusters):
        raise Refused(
            f"index {index}: the fleet has {len(fleet.clusters)} clusters",
            "apply the Job anew, as `chaosext schedule --fleet` writes it",
        )
    return fleet.clusters[index]


def ask(
    fleet: Fleet, member: Member, beside: Path, results: Path, clusters: Path = Path(CLUSTERS_DIR)
) -> Line:
    """Take the cluster's snapshot and ask; everything is kept in `results`, under the cluster's name."""
    kept = results / member.name
    kept.mkdir(parents=True, exist_ok=True)
    kubeconfig = clusters / member.name
    snapshot = kept / SNAPSHOT_FILE
    if not kubeconfig.is_file():
        line = _failed(
            member, Refused.exit_code, f"Secret {member.kubeconfig.secret} has no {member.kubeconfig.key}"
        )
    elif (
        taken := _command(["snapshot", "--context", member.context, "-o", str(snapshot)], kubeconfig)
    ).returncode:
        line = _failed(member, taken.returncode, taken.stderr)
    else:
        line = _answer(member, _command(_question(fleet, snapshot, beside), kubeconfig), kept)
    write_whole(kept / SUMMARY_FILE, json_text(line.to_json()) + "\n", fsync=True)
    return line


def _question(fleet: Fleet, snapshot: Path, beside: Path) -> list[str]:
    if fleet.cutover:
        plan = beside / fleet.cutover
        page = str(snapshot.with_name("gate.html"))
        return ["gate", "--cutover", str(plan), "--snapshot", str(snapshot), "--report", page, "--json"]
    return ["rehearse", "--snapshot", str(snapshot), "--json", *fleet.rehearse.options]


def _command(words: list[str], kubeconfig: Path) -> subprocess.CompletedProcess[str]:
    """A command of ours in a process of its own; the Job's deadline bounds it."""
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    argv = [sys.executable, "-m", "chaosext", *words]
    return subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)


def _answer(member: Member, done: subprocess.CompletedProcess[str], kept: Path) -> Line:
    try:
        said = json.loads(done.stdout)
        verdict, why = _of_gate(said) if "decision" in said else _of_rehearsal(said)
        line = Line(cluster=member.name, verdict=verdict, exit_code=done.returncode, why=why)
    except (ValueError, KeyError, TypeError):
        return _failed(member, done.returncode, done.stderr)
    write_whole(kept / ANSWER_FILE, printable(veiled(done.stdout)), fsync=True)
    return line


def _of_gate(said: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    decision = str(said["decision"])
    why = tuple(f"{each['check']}: {each['summary']}" for each in said["reasons"])
    return (decision if said["known"] else f"{decision}, not known"), why


def _of_rehearsal(said: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """What is unknown says why: the likeliest of what is."""
    verdict = str(said["verdict"])
    unknown = (str(each["why"]) for each in said["outcomes"] if each["dns_after_heal"] == UNKNOWN)
    return verdict, tuple(unknown) if verdict == UNKNOWN else ()


def _failed(member: Member, exit_code: int, why: str) -> Line:
    """An exit code of 0 without an answer is a failure as well."""
    said = veiled(" ".join(why.split()))
    return Line(
        cluster=member.name, verdict="failed", exit_code=exit_code or Unreachable.exit_code, why=(said,)
    )


def summary(fleet: Fleet, results: Path) -> Iterator[Line]:
    """A line for each cluster, of what is in `results`; one that has not been asked yet says so."""
    for member in fleet.clusters:
        try:
            said = parse_json(read_file(results / member.name / SUMMARY_FILE))
            yield Line(
                cluster=member.name,
                verdict=str(said["verdict"]),
                exit_code=int(said["exit_code"]),
                why=tuple(map(str, said["why"])),
            )
        except (OSError, ValueError, KeyError, TypeError):
            yield Line(cluster=member.name, verdict="not asked yet", exit_code=Unreachable.exit_code)


def worst(lines: Iterable[Line]) -> int:
    """The exit code of a whole fleet: the highest of its clusters'."""
    return max((line.exit_code for line in lines), default=0)
