"""The bundled files that `example:NAME` stands for, so that everything can be tried without a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaosext.model.errors import did_you_mean

EXAMPLE = "example:"
"""What the name of a bundled file begins with."""


@dataclass(frozen=True, slots=True)
class Example:
    """A bundled file. `source`: its path in a checkout, and inside the package in a wheel; `use`: a command."""

    name: str
    kind: str
    source: str
    about: str
    use: str

    @property
    def path(self) -> Path:
        package = Path(__file__).resolve().parents[1]
        inside = package / self.source
        return inside if inside.is_file() else package.parent / self.source

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "about": self.about,
            "path": str(self.path),
            "use": self.use,
        }


EXAMPLES = (
    Example(
        "story",
        "snapshot",
        "examples/snapshots/story.json",
        "the incident's cluster: DNS breaks",
        "chaosext rehearse --snapshot example:story",
    ),
    Example(
        "mitigated",
        "snapshot",
        "examples/snapshots/mitigated.json",
        "the same with dns-affinity: it heals",
        "chaosext rehearse --snapshot example:mitigated",
    ),
    Example(
        "larger",
        "snapshot",
        "examples/snapshots/larger.json.gz",
        "63 nodes in 3 zones",
        "chaosext rehearse --snapshot example:larger",
    ),
    Example(
        "all-workers",
        "cutover",
        "examples/cutovers/all-workers.yaml",
        "all workers, 8 minutes",
        "chaosext gate --cutover example:all-workers --snapshot example:story",
    ),
    Example(
        "one-zone",
        "cutover",
        "examples/cutovers/one-zone.yaml",
        "zone b, 6 to 15 minutes",
        "chaosext gate --cutover example:one-zone --snapshot example:larger",
    ),
    Example(
        "zones",
        "scenarios",
        "examples/scenarios/zones.yaml",
        "each zone in turn, and one that flaps",
        "chaosext rehearse --snapshot example:larger --scenarios example:zones",
    ),
    Example(
        "control-plane-partition",
        "experiment",
        "experiments/control-plane-partition.yaml",
        "cut the control plane off, heal, roll back, verify",
        "chaosext run control-plane-partition --dry-run",
    ),
    Example(
        "multi-cluster-failover",
        "experiment",
        "experiments/multi-cluster-failover.yaml",
        "the same with a second cluster that takes over",
        "chaosext run multi-cluster-failover --dry-run",
    ),
    Example(
        "gameday",
        "settings",
        "deploy/gameday.yaml",
        "a scheduled game day",
        "chaosext schedule --settings example:gameday --check",
    ),
    Example(
        "fleet",
        "fleet",
        "deploy/fleet.yaml",
        "two clusters, rehearsed by one Job",
        "chaosext schedule --fleet example:fleet --check",
    ),
)


def path_of(name: str, kind: str) -> Path:
    """Return the example's file. Raises LookupError, with the fix after a semicolon, for another name or kind."""
    found = next((each for each in EXAMPLES if each.name == name), None)
    if found is None or (kind and found.kind != kind):
        here = [each.name for each in EXAMPLES if each.kind == kind or not kind]
        what = f"is of kind {found.kind}, not {kind}" if found and kind else "is not a bundled example"
        hint = did_you_mean(name, here, prefix=EXAMPLE) if here else "use a file"
        raise LookupError(f"{EXAMPLE}{name} {what}; {hint}")
    return found.path


def name_of(path: Path) -> str:
    """Return the name by which a user knows the file: `example:NAME`, or its path."""
    return next((f"{EXAMPLE}{each.name}" for each in EXAMPLES if each.path == path), str(path))
