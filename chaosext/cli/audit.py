"""`chaosext audit`: shows who did what, where, with which experiment, and verifies that record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chaosext.cli.answer import Form, answers, say_answer
from chaosext.cli.options import InputFile
from chaosext.model.printable import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.safety.audit_log import AuditLog
    from chaosext.safety.hash_chain import Chain

EXIT_BROKEN = 10

log_option = click.option(
    "--log",
    type=click.Path(path_type=Path),
    help="Path of another log, such as a copy.  [default: this user's]",
)


@click.group()
def audit() -> None:
    """The record of every run: who, when, where, which experiment, what was touched, how it ended.

    \b
    Examples:
      chaosext audit verify
      chaosext audit verify --result run/latest/result.json      is that run's last entry still in the log?
      chaosext audit show --run 20261123t230300ab12
      chaosext audit digest control-plane-partition
    """


@audit.command("verify")
@log_option
@click.option(
    "--result",
    "results",
    type=InputFile(),
    multiple=True,
    help="A run's result.json, whose last entry must be in the log (repeatable).",
)
@click.option(
    "--results",
    "folders",
    type=click.Path(path_type=Path),
    multiple=True,
    help="The same for each run kept in a directory, such as run (repeatable).",
)
@answers()
def verify_log(log: Path | None, results: tuple[Path, ...], folders: tuple[Path, ...], form: Form) -> int:
    """Check the log's chain of hashes from its first line to its head.

    It finds lines that were altered, removed, moved or cut off at the end, and tells a line torn by a crash from
    these. A writer of both the log and its head file can rewrite, reset or remove both. The number and hash of the
    last entry in each run's result.json reveal that (--result, --results): keep those files elsewhere.

    Exit code: 0 intact, 10 broken, 30 unreadable or missing.
    """
    from chaosext.model.errors import Inconclusive
    from chaosext.safety.audit_log import audit_log, lost_receipt, receipt_in

    found = _log(log) or audit_log()
    paths = (*results, *(path for folder in folders for path in _results_in(folder)))
    if not found.exists and not paths:
        raise Inconclusive(
            f"there is no audit log {found.path}: it was never written, or was removed together with its head",
            "compare with the results of runs: chaosext audit verify --results run",
        )
    chain = found.verified()
    receipts = [(path, receipt_in(path)) for path in paths]
    lost = [f"{path}: {problem}" for path, each in receipts if (problem := lost_receipt(chain, each))]
    say_answer(_as_json(found, chain, lost), _lines(found, chain, lost), form)
    return EXIT_BROKEN if chain.fault or lost else 0


@audit.command("show")
@log_option
@click.option("--run", "run_id", help="Only this run's entries.")
@answers()
def show(log: Path | None, run_id: str | None, form: Form) -> int:
    """Print the log's entries, oldest first, up to the first one that cannot be trusted.

    Exit code: 0, or 10 when the chain is broken.
    """
    from chaosext.safety.audit_log import audit_log

    chain = (_log(log) or audit_log()).verified()
    entries = [entry.says for entry in chain.entries if run_id in (None, entry.says.get("run"))]
    say_answer(entries, map(_entry_line, entries), form)
    if chain.fault:
        say(f"chaosext: the log is broken from here on: {chain.fault}", err=True)
    return EXIT_BROKEN if chain.fault else 0


@audit.command("digest")
@click.argument("experiment", type=InputFile("experiment"))
@answers()
def digest(experiment: Path, form: Form) -> int:
    """Print the digest by which the log names EXPERIMENT: SHA-256 of its content, the same for YAML and JSON."""
    from chaosext.experiment.load import load_experiment
    from chaosext.safety.audit_log import digest_of

    found = digest_of(load_experiment(experiment))
    say_answer({"experiment": str(experiment), "sha256": found}, [found], form)
    return 0


def _results_in(folder: Path) -> list[Path]:
    """Return each run's result.json in a directory of runs. Raises `Refused` if there is none."""
    from chaosext.model.errors import Refused

    found = sorted(path for path in folder.glob("*/result.json") if not path.parent.is_symlink())
    if not found:
        raise Refused(
            f"--results {folder}: contains no result.json of a run",
            "use the directory that contains run/<id>/",
        )
    return found


def _log(path: Path | None) -> AuditLog | None:
    from chaosext.model.errors import Refused
    from chaosext.safety.audit_log import AuditLog

    if path is not None and not path.is_file():
        raise Refused(
            f"--log: there is no file {path}", "set --log to an audit log, such as a copy of audit.jsonl"
        )
    return AuditLog(path) if path else None


def _lines(log: AuditLog, chain: Chain, lost: list[str]) -> Iterator[str]:
    count = len(chain.entries)
    if chain.fault:
        yield f"broken: {log.path}: {chain.fault}"
        yield f"  intact entries before that: {count}"
    elif not count:
        yield f"intact: {log.path} has no entries"
    else:
        end = chain.entries[-1].end
        yield f"intact: {log.path}: {count} entries, the last one is {end.seq} ({end.hash})"
    if chain.torn and not chain.fault:
        yield f"  after it, {len(chain.torn)} bytes of a line cut short by a crash; the next entry accounts for them"
    yield from (f"missing: {problem}" for problem in lost)


def _as_json(log: AuditLog, chain: Chain, lost: list[str]) -> dict[str, Any]:
    return {
        "log": str(log.path),
        "whole": chain.fault is None and not lost,
        "entries": len(chain.entries),
        "last": chain.entries[-1].end.to_json() if chain.entries else None,
        "torn_bytes": len(chain.torn),
        "fault": chain.fault.to_json() if chain.fault else None,
        "lost": lost,
    }


def _entry_line(says: Mapping[str, Any]) -> str:
    """Format an entry: `12  2026-11-23T23:03:00.120+00:00  armed  run …  by alice@laptop  on kind-x  …`."""
    known = {"run": "run", "owner": "by", "context": "on", "verdict": "verdict", "exit_code": "exit"}
    touched = {"nodes": "nodes", "tables": "tables", "pods": "Pods", "at_entry": "cluster"}
    words = known | touched | {"experiment_sha256": "experiment"}
    parts = [f"{word} {_text(says[key])}" for key, word in words.items() if key in says]
    return "  ".join((f"{says['seq']:>5}", str(says.get("at", "")), f"{says.get('event', '')!s:<13}", *parts))


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
