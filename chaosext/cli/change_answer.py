"""Compare two states of a cluster, and print what became worse or better: for `compare` and `rehearse --change`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaosext.cli.answer import Form, say_answer
from chaosext.cli.output import SimulationProgress

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from chaosext.rehearsal.network.declared_network import SaidNetwork
    from chaosext.rehearsal.predict.cluster_state import ClusterState, CutEnding, Question
    from chaosext.rehearsal.predict.consequences import Consequences
    from chaosext.rehearsal.snapshot.object_changes import Drain, Patch
    from chaosext.rehearsal.snapshot.snapshot_files import Listed
    from chaosext.rehearsal.snapshot.world import World

MOST_VALUES = 1_000_000
"""Bound of all documents of a --change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """What `rehearse --change` was given. `without`: options that do not go with it, None or empty where not set."""

    snapshots: tuple[Path, ...]
    changes: tuple[str, ...]
    without: Mapping[str, object]


def rehearse_changes(given: Input, reader: ClusterReader, question: Question, form: Form) -> Sequence[str]:
    """Predict what changes make worse or better, and print it; return the verdicts for --fail-on.

    Raises `Refused` for an invalid change.
    """
    from chaosext.model.errors import Refused
    from chaosext.rehearsal.predict.cluster_changes import applied, changes_of
    from chaosext.rehearsal.predict.consequences import consequences
    from chaosext.rehearsal.snapshot.snapshot_files import read_files

    if not given.changes:
        raise Refused("--fail-on worse is set without --change", "add a --change, or use `chaosext compare`")
    for option in (name for name, value in given.without.items() if value):
        raise Refused(f"{option} and --change are both set", "remove one of them")
    wanted = [each for text in given.changes for each in _changes(text)]
    listed = read_files(given.snapshots)
    changes = changes_of(listed, wanted, reader.read)
    other = applied(listed, changes)
    found = consequences(listed, other, changes, reader.read, question, is_derived=True, prepare=prepare)
    say_consequences(found, form)
    after = found.planned[1]
    return [*(["worse"] if found.is_worse else []), after.verdict.value if after else "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterReader:
    """Reads the objects of a snapshot as a cluster: with these flags, and what is said about its network."""

    arguments: tuple[str, ...]
    network: SaidNetwork

    def read(self, listed: Listed) -> World:
        from chaosext.rehearsal.network.declared_network import declared
        from chaosext.rehearsal.snapshot.reader import world_of

        return declared(world_of(listed, self.arguments), self.network, "--fabric-hears")


MANY = 16
"""Fewer cuts are simulated in this process."""


def prepare(states: Sequence[ClusterState], subjects: Sequence[str]) -> None:
    """Find out what cuts lead to in each state, in as many processes as there are cores."""
    from chaosext.cli.forked import has_cores, on_all_cores
    from chaosext.model.errors import Refused

    asked = [(number, subject) for subject in subjects for number in range(len(states))]
    if not has_cores() or len(asked) < MANY:
        return

    def ending_of(asked: tuple[int, str]) -> CutEnding | None:
        number, subject = asked
        try:
            return states[number].ending(subject)
        except Refused:  # as a state with some of the changes only may lack what the cut selects
            return None

    with SimulationProgress() as progress:
        tell = progress.of("cuts")
        found = on_all_cores(ending_of, asked)
        for made, ((number, subject), ending) in enumerate(zip(asked, found, strict=True), start=1):
            states[number].learn(subject, ending)
            tell(made, len(asked))


def say_consequences(found: Consequences, form: Form) -> None:
    """Print the consequences; as wide text without the limits of one screen."""
    from chaosext.cli.change_text import change_lines, sentence

    said = found.to_json()
    said = {"schema": said["schema"], "sentence": sentence(found), **said}
    say_answer(said, change_lines(found, whole=form.is_wide), form)


def _changes(text: str) -> Iterator[Patch | Drain]:
    """Yield the changes in a file, in stdin (`-`), or in the text itself. Raises `Refused` if there are none."""
    from chaosext.model.errors import Refused
    from chaosext.rehearsal.snapshot.object_changes import FIX, SOURCE, changes_in

    where = f"{SOURCE} {text:.60}"
    try:
        found = list(changes_in(_documents(text), where))
    except OSError as error:
        raise Refused(f"{where}: {error.strerror or error}", FIX) from None
    except ValueError as error:
        raise Refused(f"{where}: neither YAML nor JSON: {error!s:.300}", FIX) from None
    if not found:
        raise Refused(f"{where}: there is no change in it", FIX)
    yield from found


def _documents(text: str) -> list[Any]:
    from chaosext.cluster.object_files import parse_yaml_stream
    from chaosext.model.bounded_json import parse_json
    from chaosext.model.files import read_file

    content = text
    if ":" not in text or Path(text).exists():
        content = read_file(Path(text)).decode("utf-8-sig")
    if content.lstrip()[:1] in ("{", "["):
        try:
            found = parse_json(content)
        except ValueError:
            pass  # YAML's flow style
        else:
            return found if isinstance(found, list) else [found]
    return list(parse_yaml_stream(content, most_values=MOST_VALUES))
