"""dns_resolvable: does cluster DNS answer on every node: where Pods ask, at the Service, and at each Pod behind it?

Pods ask what kubelet hands out, which may be a cache on their node; where that is another address than the Service's,
both are asked.

Queries are built and replies are parsed here, with dnspython. A node only sends and receives bytes, with bash
and coreutils, and with a new socket each time, because an old UDP socket may be stale where a new one works.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle, islice, product
from typing import TYPE_CHECKING

from chaosext.checks.check_names import DNS
from chaosext.checks.fan_out import LANES, ask_all, budget_s
from chaosext.checks.pod_nameservers import nameservers
from chaosext.cluster.client import NotFound
from chaosext.model.errors import Unreachable
from chaosext.model.findings import Evidence, Finding, Status, worst
from chaosext.rehearsal.snapshot.networks.signs import few

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from chaosext.checks.pod_nameservers import Nameservers
    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import Endpoint
    from chaosext.nodes.shell import NodeShell

NAMESPACE, SERVICE = "kube-system", "kube-dns"
"""The Service of cluster DNS, whichever server implements it (Kubernetes, "Customizing DNS Service")."""

API_SERVER_NAME = "kubernetes.default.svc.cluster.local"
ISTIOD_NAME = "istiod.istio-system.svc.cluster.local"

PORT = 53
LOOKUP_TIMEOUT_S = 2.0
"""Seconds after which a lookup counts as timed out, less than a resolver's 5 s (resolv.conf(5)), which users notice."""

STRAY_SHARE = 0.2
"""Maximum share of timed-out lookups to retry.

A single lost packet is not an outage, and resolvers retry too (resolv.conf(5), attempts:2). With more losses,
a retry would only hide them.
"""

LATE = ("124 ", "137 ")
"""Prefixes of a line of `ask` for a lookup that timed out: the exit statuses of `timeout`."""

PROTOCOLS = ("udp", "tcp")

FEW = 3
"""Addresses to name in a summary: there may be one for each node."""


class LookupOutcome(StrEnum):
    """The result of one lookup."""

    ANSWERED = "answered"
    NXDOMAIN = "NXDOMAIN"
    SERVFAIL = "SERVFAIL"
    OTHER_RCODE = "another error from the server"
    EMPTY = "answered without a record"
    WRONG = "answered with a wrong address"
    TIMED_OUT = "timed out"
    REFUSED = "refused"
    NO_ROUTE = "no route"
    RESET = "reset"
    GARBLED = "no proper reply"
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """One query: the server's address, the protocol and the name.

    `query` is the message's bytes. `expected`: addresses of which one must be in the answer, empty for any.
    """

    address: str
    protocol: str
    name: str
    query: bytes
    expected: frozenset[str] = frozenset()

    @property
    def wire(self) -> bytes:
        """The bytes to send; over TCP they begin with the length (RFC 1035, 4.2.2)."""
        return len(self.query).to_bytes(2) + self.query if self.protocol == "tcp" else self.query


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupAnswer:
    """The result of `lookup` on `node`. `elapsed_ms` includes the start of the processes."""

    node: str
    lookup: Lookup
    outcome: LookupOutcome
    elapsed_ms: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsEvidence:
    """All answers, the nodes whose answers decide (`judged`), and what kubelets hand to Pods.

    `addresses`: the Service's, and those of the Pods behind it.
    """

    addresses: tuple[str, ...]
    endpoints: tuple[Endpoint, ...]
    judged: tuple[str, ...]
    answers: tuple[LookupAnswer, ...]
    handed_out: Nameservers | None = None

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """The addresses that kubelets hand out and that are not the Service's."""
        given = self.handed_out.addresses if self.handed_out else ()
        return tuple(each for each in given if each not in self.addresses)


ASK = r"""
body='
exec 3<>"/dev/$1/$2/$3" || exit 97
base64 -d <<<"$4" >&3
if [ "$1" = tcp ]; then
  size=($(head -c 2 <&3 | od -An -v -tu1))
  reply=$(head -c $(( ${size[0]:-0} * 256 + ${size[1]:-0} )) <&3 | base64 -w0)
else
  reply=$(dd bs=65535 count=1 status=none <&3 | base64 -w0)
fi
printf "reply:%s" "$reply"'
ask() {
  local said status start=${EPOCHREALTIME/./}
  said=$(timeout -k 1 "$limit" bash -c "$body" ask "$2" "$3" "$4" "$5" 2>&1 </dev/null)
  status=$?
  printf '%s %s %s %s\n' "$1" "$status" $(( ${EPOCHREALTIME/./} - start )) "${said//$'\n'/ }"
}
"""
"""bash: `ask LABEL PROTOCOL ADDRESS PORT QUERY` prints "LABEL STATUS MICROSECONDS MESSAGE".

The message ends with the reply, as `reply:` and base64. A separate process writes the query, because bash
would split it at newline bytes.
"""

SCRIPT = f"""
# stdin: a first line "TIMEOUT LANES", then "INDEX PROTOCOL ADDRESS PORT QUERY" each
export LC_ALL=C
read -r limit lanes
{ASK}
running=0
while read -r index protocol address port query; do
  if (( running >= lanes )); then wait -n; fi
  ask "$index" "$protocol" "$address" "$port" "$query" &
  (( ++running ))
done
wait
"""


def gather(
    cluster: Cluster,
    shells: Mapping[str, NodeShell],
    *,
    lookup_names: Sequence[str] = (),
    lookups: int = 10,
    timeout_s: float = LOOKUP_TIMEOUT_S,
) -> DnsEvidence:
    """Query kubelet's clusterDNS, kube-dns' ClusterIPs and every address behind it, from every node with a shell.

    Each address gets `lookups` queries from each node.

    Workers decide; control-plane nodes are queried too, and reported. In a cluster without workers,
    control-plane nodes decide.
    """
    nodes = cluster.nodes()
    service = cluster.service(NAMESPACE, SERVICE)
    endpoints = backing(cluster.endpoint_slices(NAMESPACE, SERVICE))
    addresses = (*service.cluster_ips, *(each.ip for each in endpoints))
    workers = tuple(node.name for node in nodes if not node.is_control_plane)
    everyone = tuple(node.name for node in nodes)
    wanted = dict.fromkeys(lookup_names, frozenset[str]()) or default_names(cluster)
    given = nameservers(cluster, shells, everyone)
    plans = {
        node: plan_lookups(at, wanted, lookups)
        for node in everyone
        if (at := tuple(dict.fromkeys((*given.of[node], *addresses))))
    }
    answers = ask_nodes(shells, plans, timeout_s=timeout_s)
    return DnsEvidence(
        addresses=addresses,
        endpoints=endpoints,
        judged=workers or everyone,
        answers=answers,
        handed_out=given,
    )


def backing(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Return the endpoints that proxies use: the ready ones, or if there are none, all that are not terminating."""
    staying = tuple(each for each in endpoints if not each.terminating)
    return tuple(each for each in staying if each.ready) or staying


def default_names(cluster: Cluster) -> dict[str, frozenset[str]]:
    """Return the names of the API server and, if present, istiod, with the addresses that they must resolve to.

    The addresses distinguish cluster DNS from another resolver that intercepts queries without a route.
    """
    names = {API_SERVER_NAME: frozenset(cluster.service("default", "kubernetes").cluster_ips)}
    with suppress(NotFound):
        names[ISTIOD_NAME] = frozenset(cluster.service("istio-system", "istiod").cluster_ips)
    return names


def plan_lookups(
    addresses: Sequence[str], names: Mapping[str, frozenset[str]], lookups: int
) -> tuple[Lookup, ...]:
    """Return `lookups` queries for each address, alternating UDP and TCP, and for each of them the names.

    `names`: name -> the addresses that it should have, empty for any.
    """
    pairs = [(protocol, name) for name, protocol in product(names, PROTOCOLS)]
    return tuple(
        _lookup(address, protocol, name, _rdtype(names[name], addresses), names[name])
        for address in addresses
        for protocol, name in islice(cycle(pairs), lookups)
    )


def _rdtype(expected: Iterable[str], addresses: Sequence[str]) -> str:
    """Return the type of record to ask for: that of the expected address, or else of the first server's family."""
    return "AAAA" if ":" in next(iter(expected), addresses[0]) else "A"


def _lookup(
    address: str, protocol: str, name: str, rdtype: str = "A", expected: frozenset[str] = frozenset()
) -> Lookup:
    from dns.message import make_query

    query = make_query(name, rdtype).to_wire()
    return Lookup(address=address, protocol=protocol, name=name, query=query, expected=expected)


def ask_nodes(
    shells: Mapping[str, NodeShell],
    plans: Mapping[str, Sequence[Lookup]],
    *,
    timeout_s: float = LOOKUP_TIMEOUT_S,
) -> tuple[LookupAnswer, ...]:
    """Run each node's plan with one shell call; a lookup without a result is `UNKNOWN`."""
    reachable = {node: shells[node] for node in plans if node in shells}
    answers = ask_all(reachable, lambda shell: _ask_from(shell, plans[shell.node], timeout_s))
    missing = Unreachable("no shell on the node")
    return tuple(
        answer
        for node, plan in plans.items()
        for answer in _read_answers(node, plan, answers.get(node, missing))
    )


def _ask_from(shell: NodeShell, plan: Sequence[Lookup], timeout_s: float) -> dict[str, str]:
    """Return index in the plan -> output of `ask`; few timed-out lookups are retried once."""
    rows = {str(index): _row(each) for index, each in enumerate(plan)}
    said = _ask_rows(shell, rows, timeout_s)
    late = {index: row for index, row in rows.items() if said.get(index, "").startswith(LATE)}
    if 0 < len(late) <= STRAY_SHARE * len(plan):
        said |= _ask_rows(shell, late, timeout_s)
    return said


def _ask_rows(shell: NodeShell, rows: Mapping[str, str], timeout_s: float) -> dict[str, str]:
    lines = [f"{timeout_s:g} {LANES}", *(f"{index} {row}" for index, row in rows.items())]
    result = shell.run(SCRIPT, stdin="\n".join(lines) + "\n", timeout_s=budget_s(len(rows), timeout_s))
    return dict(line.split(" ", 1) for line in result.stdout.splitlines() if " " in line)


def _row(lookup: Lookup) -> str:
    return f"{lookup.protocol} {lookup.address} {PORT} {b64encode(lookup.wire).decode()}"


def _read_answers(
    node: str, plan: Sequence[Lookup], said: dict[str, str] | Unreachable
) -> Iterator[LookupAnswer]:
    for index, lookup in enumerate(plan):
        if isinstance(said, Unreachable):
            yield LookupAnswer(node=node, lookup=lookup, outcome=LookupOutcome.UNKNOWN, detail=str(said))
        elif str(index) not in said:
            yield LookupAnswer(
                node=node, lookup=lookup, outcome=LookupOutcome.UNKNOWN, detail="the node gave no result"
            )
        else:
            outcome, elapsed_ms, detail = read_line(said[str(index)], lookup.query)
            if (
                outcome is LookupOutcome.ANSWERED
                and lookup.expected
                and lookup.expected.isdisjoint(detail.split())
            ):
                outcome = LookupOutcome.WRONG
            yield LookupAnswer(
                node=node, lookup=lookup, outcome=outcome, elapsed_ms=elapsed_ms, detail=detail
            )


def read_line(line: str, query: bytes | None = None) -> tuple[LookupOutcome, float | None, str]:
    """Return outcome, elapsed ms and detail of "STATUS MICROSECONDS MESSAGE", as `ask` prints it after its label.

    With `query`, the reply must be the reply to that query.
    """
    match = _ANSWER_LINE.fullmatch(line)
    if not match:
        return LookupOutcome.UNKNOWN, None, f"unreadable line: {line[:80]}"
    outcome, detail = classify(int(match[1]), match[3] or "", query)
    return outcome, int(match[2]) / 1000, detail


_ANSWER_LINE = re.compile(r"(\d{1,3}) (\d{1,18})(?: (.*))?")


PHRASES = (
    ("Connection refused", LookupOutcome.REFUSED),
    ("No route to host", LookupOutcome.NO_ROUTE),
    ("Network is unreachable", LookupOutcome.NO_ROUTE),
    ("Connection timed out", LookupOutcome.TIMED_OUT),
    ("Connection reset by peer", LookupOutcome.RESET),
)
"""Message of bash or coreutils (in LC_ALL=C) -> outcome. Over UDP, "refused" is an ICMP port unreachable."""


def classify(status: int, message: str, query: bytes | None = None) -> tuple[LookupOutcome, str]:
    """Return the result of a lookup, from the exit status of `timeout` and its output."""
    said, _, encoded = message.partition("reply:")
    if encoded.strip():
        encoded = encoded.split()[0]
        return read_reply(encoded, query)
    if status in (124, 137):
        return LookupOutcome.TIMED_OUT, ""
    phrase = next((outcome for text, outcome in PHRASES if text in message), None)
    return phrase or LookupOutcome.GARBLED, said.strip() or message.strip()


def read_reply(encoded: str, query: bytes | None = None) -> tuple[LookupOutcome, str]:
    """Parse the reply (base64); bytes that are not the reply to `query` are `GARBLED`."""
    from dns.exception import DNSException
    from dns.message import from_wire
    from dns.rcode import NOERROR, NXDOMAIN, SERVFAIL, to_text

    try:
        wire = b64decode(encoded, validate=True)
        reply = from_wire(wire, ignore_trailing=True)
    except (DNSException, ValueError) as error:
        return LookupOutcome.GARBLED, f"{type(error).__name__}: {error}"
    if query is not None and wire[:2] != query[:2]:
        return LookupOutcome.GARBLED, "a reply to another query"
    known = {
        NOERROR: LookupOutcome.ANSWERED if reply.answer else LookupOutcome.EMPTY,
        NXDOMAIN: LookupOutcome.NXDOMAIN,
        SERVFAIL: LookupOutcome.SERVFAIL,
    }
    records = " ".join(item.to_text() for rrset in reply.answer for item in rrset)
    code = reply.rcode()
    return known.get(code, LookupOutcome.OTHER_RCODE), records if code == NOERROR else to_text(code)


STRANGE = (LookupOutcome.NXDOMAIN, LookupOutcome.EMPTY, LookupOutcome.WRONG)
"""Answers of a server that does not know the name."""


def judge(evidence: DnsEvidence) -> Finding:
    """Judge: healthy if every lookup on every judged node was answered, over UDP and TCP, at every address."""
    rows = [
        _evidence(node, key, group, counts=node in evidence.judged, role=_role(node, group, evidence))
        for (node, key), group in _groups(evidence.answers)
    ]
    rows += _not_said(evidence)
    if not evidence.endpoints:
        rows.append(_of_service(Status.UNHEALTHY, "no address behind it"))
    summary = _summary(evidence, [row for row in rows if row.counts and row.status is not Status.HEALTHY])
    rows += _dead_everywhere(evidence)
    status = worst(row.status for row in rows if row.counts) if evidence.answers else Status.UNKNOWN
    return Finding(check=DNS, status=status, summary=summary, evidence=tuple(rows))


def _dead_everywhere(evidence: DnsEvidence) -> Iterator[Evidence]:
    """Yield a row that no known-unhealthy entry excuses if no judged node resolves at the Service's address."""
    behind = {each.ip for each in evidence.endpoints}
    asked = [
        answer.outcome
        for answer in evidence.answers
        if answer.node in evidence.judged and answer.lookup.address not in behind
    ]
    if asked and LookupOutcome.ANSWERED not in asked:
        status = Status.UNKNOWN if set(asked) == {LookupOutcome.UNKNOWN} else Status.UNHEALTHY
        yield _of_service(status, "no node resolves at its address")


def _groups(answers: Iterable[LookupAnswer]) -> Iterable[tuple[tuple[str, str], list[LookupAnswer]]]:
    """Group the answers by (node, "address:53/protocol")."""
    found: dict[tuple[str, str], list[LookupAnswer]] = {}
    for answer in answers:
        address = answer.lookup.address
        shown = f"[{address}]" if ":" in address else address
        found.setdefault((answer.node, f"{shown}:{PORT}/{answer.lookup.protocol}"), []).append(answer)
    return found.items()


def _role(node: str, answers: Sequence[LookupAnswer], evidence: DnsEvidence) -> str:
    """Say that Pods of the node ask this address, where kubelet hands out another one than the Service's."""
    given = evidence.handed_out
    if given is None or answers[0].lookup.address not in evidence.elsewhere:
        return ""
    return f"Pods ask here, by {given.source}" if answers[0].lookup.address in given.of[node] else ""


def _not_said(evidence: DnsEvidence) -> Iterator[Evidence]:
    """Yield the nodes of which it is unknown what Pods ask: the Service's address is taken for it."""
    given = evidence.handed_out
    if given is not None and (silent := [node for node, found in given.of.items() if not found]):
        detail = f"kubelet's clusterDNS can't be read on {few(silent)}: the Service's address is taken for it"
        yield Evidence(subject="clusterDNS", status=Status.UNKNOWN, detail=detail, counts=False)


def _evidence(node: str, key: str, answers: Sequence[LookupAnswer], *, counts: bool, role: str) -> Evidence:
    outcomes = Counter(answer.outcome for answer in answers)
    good = outcomes.pop(LookupOutcome.ANSWERED, 0)
    failures = ", ".join(f"{times} {outcome}" for outcome, times in outcomes.most_common())
    why = next(
        (each.detail for each in answers if each.outcome in (LookupOutcome.UNKNOWN, LookupOutcome.GARBLED)),
        "",
    )
    notes = [note for note in (failures, why, *_bad_names(answers), role) if note]
    counted = f"{good} of {len(answers)} answered"
    return Evidence(
        subject=f"Node/{node} → {key}",
        status=_status(good, outcomes),
        detail=": ".join([counted, *notes]),
        counts=counts,
        share=(2 if good == len(answers) else int(good > 0), 2),
    )


def _bad_names(answers: Iterable[LookupAnswer]) -> Iterable[str]:
    """Yield names with wrong answers; for the API server's name, which cluster DNS always knows, say what it means."""
    for name in sorted({each.lookup.name for each in answers if each.outcome in STRANGE}):
        stranger = " (so it is not the cluster's DNS that answers)" if name == API_SERVER_NAME else ""
        yield f"{name}{stranger}"


def _status(answered: int, failures: Counter[LookupOutcome]) -> Status:
    if set(failures) - {LookupOutcome.UNKNOWN}:
        return Status.UNHEALTHY
    return Status.HEALTHY if answered and not failures else Status.UNKNOWN


def _of_service(status: Status, detail: str) -> Evidence:
    return Evidence(subject=f"Service/{NAMESPACE}/{SERVICE}", status=status, detail=detail, vital=True)


def _summary(evidence: DnsEvidence, bad: Sequence[Evidence]) -> str:
    asked = [answer for answer in evidence.answers if answer.node in evidence.judged]
    good = sum(answer.outcome is LookupOutcome.ANSWERED for answer in asked)
    counted = f"{good} of {len(asked)} lookups answered, from {len(evidence.judged)} nodes"
    if evidence.elsewhere:
        counted += f" (Pods ask {', '.join(evidence.elsewhere[:FEW])})"
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    return f"{counted}; {bad[0].subject}: {bad[0].detail}{more}" if bad else counted
