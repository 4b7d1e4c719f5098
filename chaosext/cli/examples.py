"""`chaosext examples`: the bundled files that stand for a name, so that everything can be tried without a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from chaosext.cli.answer import Form, answers, say_answer, table
from chaosext.model.errors import Refused, did_you_mean
from chaosext.model.printable import say_document

PREFIX = "example:"


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


def path_of(given: str, kind: str) -> Path:
    """Return the file of `example:NAME`. Raises LookupError, with the fix after a semicolon, for another name."""
    name = given.removeprefix(PREFIX)
    found = next((each for each in EXAMPLES if each.name == name), None)
    if found is None or (kind and found.kind != kind):
        here = [each.name for each in EXAMPLES if each.kind == kind or not kind]
        what = f"is a {found.kind}, not a {kind}" if found else "is not a bundled example"
        hint = did_you_mean(name, here, prefix=PREFIX) if here else "use a file"
        raise LookupError(f"{given} {what}; {hint}")
    return found.path


@click.command(name="examples")
@click.argument("name", required=False)
@answers()
def list_examples(name: str | None, form: Form) -> None:
    """List the bundled examples, or print the one called NAME, to start your own from it.

    Wherever a command reads a snapshot, a plan, scenarios or settings, example:NAME stands for the bundled file.

    \b
    Examples:
      chaosext examples
      chaosext examples -o wide
      chaosext examples all-workers > cutover.yaml
      chaosext rehearse --snapshot example:story
    """
    if name is None:
        say_answer([each.to_json() for each in EXAMPLES], _listed(form), form)
        return
    name = name.removeprefix(PREFIX)
    found = next((each for each in EXAMPLES if each.name == name), None)
    if found is None:
        raise Refused(f"{name}: not a bundled example", did_you_mean(name, [each.name for each in EXAMPLES]))
    if form is Form.TEXT:
        say_document(_text(found.path))
    else:
        say_answer(found.to_json(), [found.use], form)


def _listed(form: Form) -> list[str]:
    rows = [(each.name, each.kind, each.about, each.use, str(each.path)) for each in EXAMPLES]
    header, shown = ("name", "kind", "about", "try", "file"), 5 if form.is_wide else 4
    return list(table(header[:shown], [row[:shown] for row in rows]))


def _text(path: Path) -> str:
    """Return the content of a file, unzipped."""
    from chaosext.model.files import opened, read_file, unzipped

    if path.suffix != ".gz":
        return read_file(path).decode()
    with opened(path) as file:
        return b"".join(unzipped(file, path)).decode()
