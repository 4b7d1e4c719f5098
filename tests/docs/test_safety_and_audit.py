"""What the documents promise is what the code does: rows, crash points, and every field of audit and status."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

from checkout import ROOT

from chaosext.cleanup.inventory import STATUS_SCHEMA, FoundSentinels, Overview, RunnerState
from chaosext.cluster.daemonset import SentinelDaemonSet
from chaosext.model.crash import POINTS
from chaosext.model.owner import LockFacts
from chaosext.partition.nft import TableFacts
from chaosext.partition.reports import NodeTables
from chaosext.safety.audit_log import AuditEvent, Deed
from chaosext.safety.hash_chain import ChainHead, Wrong, account_for, link
from chaosext.safety.intent import Outstanding

SAFETY, AUDIT, SECURITY = (
    (ROOT / name).read_text() for name in ("docs/safety.md", "docs/audit.md", "SECURITY.md")
)
ROWS = {int(path.name[1:3]) for path in (ROOT / "tests" / "trust" / "rows").glob("r[0-9]*.py")}


def section(title: str) -> str:
    """A section of docs/audit.md."""
    return AUDIT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def table(text: str, column: int = 0) -> list[str]:
    """The cells of a column, without the head."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [row.strip("|").split(" | ")[column].strip() for row in rows if not set(row) <= {"|", "-"}][1:]


def words(cells: list[str]) -> set[str]:
    return {word for cell in cells for word in re.findall(r"`(\w+)`", cell)}


def numbers(cells: list[str]) -> set[int]:
    return {int(number) for cell in cells for number in re.findall(r"\b\d+\b", cell)}


def test_every_row_of_the_trust_table_is_there_for_a_promise() -> None:
    promises = SAFETY.partition("\n## ")[0]
    assert numbers(table(promises, column=1)) == ROWS
    assert numbers(table(SECURITY, column=1)) <= ROWS


def test_every_test_that_is_named_is_there() -> None:
    for path in re.findall(r"tests/[\w/]+(?:\.py)?", SAFETY + SECURITY):
        assert (ROOT / path).exists(), path


def test_the_crash_points_are_those_of_the_code() -> None:
    cells = zip(table(section("Crash points")), table(section("Crash points"), column=1), strict=True)
    assert {point.strip("`"): truth.rstrip(" |") for point, truth in cells} == POINTS


def test_the_audit_logs_fields_and_events_are_those_of_the_code() -> None:
    of_fields, _, of_events = section("The audit log").partition("| event | when |")
    line, _ = link({"at": "", **account_for(b"x")}, ChainHead())
    written = set(re.findall(rb'"(\w+)":', line))
    assert words(table(of_fields)) >= {field.name for field in fields(Deed)}
    assert words(table(of_fields)) == {field.name for field in fields(Deed)} | {
        key.decode() for key in written
    }
    assert words(table(f"| event | when |{of_events}")) == {*AuditEvent, "torn"}
    assert all(what.value in of_fields for what in Wrong)


def described(rows: str) -> set[str]:
    cells = dict(zip(table(section("Status")), table(section("Status"), column=1), strict=True))
    return words([cells[f"`{rows}`"]])


def test_the_status_is_as_described() -> None:
    cut = TableFacts(run="r", owner="o", until=None, peers=(), drops=())
    lock = LockFacts(run="r", owner="o", holder=None, remaining_s=1, is_live=True)
    node = NodeTables(node="n", tables=(cut,), lock=lock)
    run = Outstanding(run="r", nodes=("n",), intent={})
    there = SentinelDaemonSet(run="r", namespace="n", owner="o", holder=None, since=None, uid="u")
    sentinels = FoundSentinels(context="c", sentinels=there, lock=None)
    overview = Overview(nodes=(node,), unfinished=(run,), sentinels=(sentinels,))
    said: dict[str, Any] = overview.to_json()
    assert said["schema"] == STATUS_SCHEMA
    assert STATUS_SCHEMA in section("Status")
    assert all(f"`{key}`" in section("Status") for key in said.keys() - {"schema"})
    assert said["nodes"][0].keys() == described("nodes")
    assert said["nodes"][0]["cuts"][0].keys() == described("nodes[].cuts")
    assert said["nodes"][0]["lock"].keys() == described("nodes[].lock")
    assert said["unfinished"][0].keys() == described("unfinished")
    assert said["sentinels"][0].keys() == described("sentinels")
    assert all(f"`{runner.value}`" in section("Status") for runner in RunnerState)
