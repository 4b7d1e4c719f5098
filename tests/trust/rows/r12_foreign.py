"""Row 12: 200 foreign rules, kube-proxy's and Calico's chains: after a run they are what they were, by handle.

Judged by nft's own listing with handles (a rule that was taken out and put back has another), not by our fingerprint;
what the run then says of them has to agree. On the testbed a node's own rules are looked at through iptables-save.
"""

from __future__ import annotations

import re
import signal
import time
from functools import cache
from typing import TYPE_CHECKING

from chaosext.nodes.process_shell import DockerShell
from chaosext.partition.apply import arm, heal, renew
from chaosext.partition.cut import Cut, NodeCut, peers_of
from chaosext.partition.foreign_rules import changes, fingerprint
from tests.trust import ROOT
from tests.trust.lab.stage import Outcome, stage, summed
from tests.trust.lab.trial import experiment
from tests.trust.row import Effort, Ground, Measured, NotHere, Row

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.trust.lab.trial import Trial

GOLDEN = ROOT / "tests" / "golden" / "foreign" / "kind-worker.six-replicas.nft"
RULES = 200
TIMES = {Effort.FAST: 1, Effort.FULL: 6}
NODE_TIMES = {Effort.FAST: 1, Effort.FULL: 5}

CALICO = """
add chain ip filter cali-fw-cali9
add rule ip filter cali-fw-cali9 ct state related,established counter accept
add rule ip filter cali-from-wl-dispatch iifname "cali9" counter goto cali-fw-cali9
"""
KUBE_PROXY = """
add chain ip nat KUBE-SEP-NEWNEWNEWNEWNEWN
add rule ip nat KUBE-SEP-NEWNEWNEWNEWNEWN meta l4proto tcp counter dnat to 10.244.6.9:8080
insert rule ip nat KUBE-SVC-ITBI3OHKD3FRXPDK counter jump KUBE-SEP-NEWNEWNEWNEWNEWN
"""
SOMEBODY = "add rule ip filter FORWARD ip saddr 198.51.100.7 counter drop\n"

PLAYS: dict[str, tuple[str, dict[str, int], bool]] = {
    "nobody": ("", {}, False),
    "killed": ("", {}, False),
    "calico": (CALICO, {"Calico": 3}, False),
    "kube-proxy": (KUBE_PROXY, {"kube-proxy": 3}, False),
    "somebody": (SOMEBODY, {}, True),
}
"""Who changes something during the cut: what, the known authors' lines, and whether it is said to be nobody's."""


def in_namespaces(effort: Effort) -> Measured:
    items = [(who, number) for number in range(TIMES[effort]) for who in PLAYS]
    return stage().play(kept, items, unit="foreign lines differ")


def kept(trial: Trial, item: tuple[str, int]) -> Outcome:
    outcome, spaces = Outcome(), trial.lab.spaces
    change, authors, unknown = PLAYS[item[0]]
    spaces.nft("cp1", crowd())
    try:
        before = theirs(trial)
        during = play(trial, outcome, change, killed=item[0] == "killed")
        after = theirs(trial)
        outcome.figure = float(len(differing(during, after)))
        if not change:
            outcome.figure += len(differing(before, during))
        outcome.expect(not outcome.figure, f"{differing(during, after)[:3]}")
        outcome.expect(len(before) > RULES, "the node had no crowd of rules")
    finally:
        remove_foreign(trial)
    if item[0] != "killed":
        agrees(trial, outcome, authors, unknown=unknown)
    return outcome


def play(trial: Trial, outcome: Outcome, change: str, *, killed: bool) -> list[str]:
    """A whole run, with `change` during its cut; the foreign rules right after that."""
    process = trial.run(experiment(ttl_s=30, hold_s=1.0, move=False))
    outcome.expect(trial.reaches("hold"), f"no cut: {trial.out[-300:]!r}")
    if change:
        trial.lab.spaces.nft("cp1", change)
    during = theirs(trial)
    if killed:
        process.signal(signal.SIGKILL)
        process.wait(10)
        outcome.expect(trial.clean_up() == 0, f"cleanup: {trial.out[-300:]!r}")
    else:
        code = process.wait(60)
        outcome.expect(code == 0, f"exit {code}: {trial.out[-300:]!r}")
    return during


def agrees(trial: Trial, outcome: Outcome, authors: dict[str, int], *, unknown: bool) -> None:
    """What the run's own result says of the rules that aren't its own."""
    said = trial.result.get("foreign_rules") or {}
    reasons = [reason for reason in trial.result.get("reasons", ()) if "foreign rules" in reason]
    outcome.expect(said.get("identical") is not bool(authors or unknown), f"identical: {said}")
    outcome.expect(said.get("changed_by") == authors, f"changed by: {said}")
    outcome.expect(
        bool(said.get("unattributed")) == bool(reasons) == unknown, f"unattributed: {said}, {reasons}"
    )


def theirs(trial: Trial) -> list[str]:
    """The lines of every table that isn't ours, with handles, without counters."""
    listing = trial.lab.spaces.inside_run("cp1", "nft", "-s", "-a", "list", "ruleset")
    blocks = re.split(r"(?m)^(?=table )", listing)
    return [
        line for block in blocks if not block.startswith("table inet chaosext") for line in block.splitlines()
    ]


def differing(one: list[str], other: list[str]) -> list[str]:
    pairs = [f"{a!r} became {b!r}" for a, b in zip(one, other, strict=False) if a != b]
    return pairs or [f"{len(one)} lines became {len(other)}"] * (len(one) != len(other))


def remove_foreign(trial: Trial) -> None:
    """Only these: what is left of ours is the trial's residue."""
    for table in ("ip nat", "ip filter", "inet mine"):
        trial.lab.spaces.nft("cp1", f"add table {table}\ndelete table {table}\n")


@cache
def crowd() -> str:
    """The real rules of a kind worker (kube-proxy, Calico, Docker), and 200 of nobody's with sets of their own."""
    rules = "\n".join(
        f'ip saddr 10.1.{n}.0/24 tcp dport {n + 1} counter accept comment "rule {n}"' for n in range(RULES)
    )
    mine = f"""
    table inet mine {{
      set blocked {{ type ipv4_addr; flags interval; elements = {{ 198.18.0.0/15, 203.0.113.9 }}
      }}
      chain first {{
        type filter hook input priority -400; policy accept
        ip saddr @blocked drop
        {rules}
      }}
    }}
    """
    return "".join(map(with_targets, re.split(r"(?m)^(?=table )", GOLDEN.read_text()))) + mine


def with_targets(table: str) -> str:
    """An excerpt jumps to chains that were left out of it: empty ones take their places."""
    missing = set(re.findall(r"(?:jump|goto) (\S+)$", table, re.MULTILINE)) - set(
        re.findall(r"^\tchain (\S+) \{", table, re.MULTILINE)
    )
    header, _, rest = table.partition("\n")
    return "\n".join((header, *(f"chain {name} {{ }}" for name in sorted(missing)), rest)) if table else ""


# On a node of the testbed: real kube-proxy, real Calico, real kubelet. The peers are documentation's addresses
# (RFC 5737, RFC 3849), so that the node keeps all its traffic.

WORKER = "chaosext-worker"
SETTLE_TIMES = 5


def on_a_node(effort: Effort) -> Measured:
    shell = DockerShell(WORKER)
    items = list(range(NODE_TIMES[effort]))
    return summed(items, [untouched(shell, number) for number in items], "lines of iptables-save differ")


def untouched(shell: DockerShell, number: int) -> Outcome:
    """kube-proxy and Calico may change their rules at any moment: then it is tried once more."""
    outcome = Outcome()
    for _ in range(SETTLE_TIMES):
        outcome = on_node_once(shell, f"r12n{number}")
        if outcome.failures != [MOVED]:
            break
        time.sleep(2)
    return outcome


MOVED = "kube-proxy or Calico changed their own rules meanwhile"


def on_node_once(shell: DockerShell, run: str) -> Outcome:
    outcome = Outcome()
    node = NodeCut(node=WORKER, uplinks=("eth0",))
    cut = Cut(
        run=run,
        owner="trust@here",
        nodes=(node,),
        peers=peers_of([], ["192.0.2.0/24", "2001:db8::/32"]),
        ttl_s=8,
    )
    before, saved = listing(shell), saved_rules(shell)
    shells = {WORKER: shell}
    armed = arm(cut, shells)
    during = saved_rules(shell)
    renew(cut, shells)
    healed = heal(run, shells)
    after, later = listing(shell), saved_rules(shell)
    outcome.residue += [line for line in after.splitlines() if f"chaosext_{run}" in line]
    found = changes(before, after)
    if found and all(change.author.value != "unknown" for change in found):
        outcome.failures.append(MOVED)
        return outcome
    outcome.figure = float(len(set(saved) ^ set(later)) + len(set(saved) ^ set(during)))
    outcome.expect(saved == during == later, f"iptables-save: {sorted(set(saved) ^ set(later))[:3]}")
    outcome.expect(
        fingerprint(before) == fingerprint(after), f"fingerprint: {[str(each) for each in found][:3]}"
    )
    outcome.expect(armed.foreign_identical and bool(healed.foreign_identical), "the reports say otherwise")
    outcome.expect(
        "cali-FORWARD" in before and "KUBE-SERVICES" in before, "neither Calico nor kube-proxy is there"
    )
    return outcome


def listing(shell: DockerShell) -> str:
    return shell.run("nft -s list ruleset 2>/dev/null", timeout_s=20).stdout


def saved_rules(shell: DockerShell) -> list[str]:
    """What iptables itself has to say: comments and matches too, for which nft has no word; without counters."""
    said = shell.run("iptables-save; ip6tables-save", timeout_s=20).stdout
    lines = [re.sub(r" \[\d+:\d+\]$", "", line) for line in said.splitlines() if not line.startswith("#")]
    if not lines:
        raise NotHere(f"needs iptables-save on {WORKER}")
    return lines


measures: tuple[tuple[Ground, Callable[[Effort], Measured]], ...] = (
    (Ground.KERNEL, in_namespaces),
    (Ground.CLUSTER, on_a_node),
)
ROW = Row(
    number=12,
    title=f"{RULES} foreign rules, kube-proxy's and Calico's chains, in namespaces and on a real node",
    bar="fingerprint equal",
    measures=measures,
)
