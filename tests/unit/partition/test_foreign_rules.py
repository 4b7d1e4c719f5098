"""Foreign rules: what counts of them, and whose a change is. The samples are of a kind worker: iptables-nft, Calico."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from checkout import ROOT

from chaosext.partition.foreign_rules import Author, ForeignChange, changes, fingerprint

GOLDEN = ROOT / "tests" / "golden" / "foreign"
FOUR, SIX = ((GOLDEN / f"kind-worker.{count}-replicas.nft").read_text() for count in ("four", "six"))

FOREIGN = """\
table ip nat {
\tset fleeting {
\t\ttype ipv4_addr
\t\tflags dynamic,timeout
\t\telements = { 1.2.3.4 timeout 1m expires 12s,
\t\t\t     1.2.3.5 timeout 1m expires 13s }
\t}

\tset steady {
\t\ttype ipv4_addr
\t\telements = { 9.9.9.9 }
\t}

\tchain INPUT {
\t\ttype filter hook input priority filter; policy accept;
\t\tip saddr 1.1.1.1 counter packets 5 bytes 300 drop # handle 4
\t}
}
"""
OURS = 'table inet chaosext_r1 {\n\tcomment "chaosext"\n\tchain inbound {\n\t}\n}\n'
LOCK = (
    "table inet chaosext.lock {\n\tset run_r1 {\n\t\ttype mark\n\t\telements = { 0x1 timeout 1m }\n\t}\n}\n"
)


def lines_by_author(before: str, after: str) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for change in changes(before, after):
        counted[change.author.value] += change.lines
    return dict(counted)


def test_our_tables_and_what_changes_by_itself_are_left_out() -> None:
    later = FOREIGN.replace("packets 5 bytes 300", "packets 6 bytes 900").replace("handle 4", "handle 9")
    later = later.replace("1.2.3.5 timeout 1m expires 13s", "8.8.8.8 timeout 1m expires 59s")
    later = later.replace("1.2.3.4 timeout 1m expires 12s,\n\t\t\t     ", "")
    for after in (OURS + later, later + LOCK, OURS + LOCK + later + OURS):
        assert fingerprint(after) == fingerprint(FOREIGN)
        assert changes(FOREIGN, after) == changes(after, FOREIGN) == ()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "1.1.1.1",
            "1.1.1.2",
            "table ip nat, chain INPUT: - ip saddr 1.1.1.1 counter drop; + ip saddr 1.1.1.2",
        ),
        (
            "9.9.9.9",
            "9.9.9.8",
            "table ip nat, set steady: - elements = { 9.9.9.9 }; + elements = { 9.9.9.8 }",
        ),
        (
            "packets 5 bytes 300 drop",
            "accept",
            "- ip saddr 1.1.1.1 counter drop; + ip saddr 1.1.1.1 counter accept",
        ),
        ("policy accept", "policy drop", "+ type filter hook input priority filter; policy drop;"),
        ("set steady", "set ready", "table ip nat: - set steady {; + set ready {"),
        ("table ip nat", "table ip n", "tables: - table ip nat {; + table ip n {"),
    ],
)
def test_every_other_change_is_shown_with_its_place(old: str, new: str, said: str) -> None:
    found = changes(FOREIGN, FOREIGN.replace(old, new))
    assert {change.author for change in found} == {Author.UNKNOWN}
    assert any(said in str(change) for change in found)
    assert fingerprint(FOREIGN) != fingerprint(FOREIGN.replace(old, new))


@pytest.mark.parametrize(
    "name", ["inet chaosextra", "ip chaosext_r1", "inet xchaosext_r1", "inet chaosextXlock"]
)
def test_a_table_that_only_looks_like_ours_is_foreign(name: str) -> None:
    table = f"table {name} {{\n}}\n"
    assert fingerprint(table) == table.strip()
    assert [str(change) for change in changes("", table)] == [f"tables: + table {name} {{"]


def test_a_table_of_ours_that_does_not_end_hides_no_table_behind_it() -> None:
    assert fingerprint("table inet chaosext_r1 {\n\tchain inbound {\n" + FOREIGN) == fingerprint(FOREIGN)


def test_two_pods_more_are_kube_proxys_and_calicos_doing() -> None:
    assert lines_by_author(FOUR, SIX) == {"kube-proxy": 16, "Calico": 22}
    assert lines_by_author(SIX, FOUR) == {"kube-proxy": 16, "Calico": 22}


def test_rules_that_kube_proxy_only_moved_are_shown_as_moved() -> None:
    lines = SIX.splitlines(keepends=True)
    first = next(index for index, line in enumerate(lines) if "10.2.112.1  tcp dport 443" in line)
    moved = [*lines[:first], lines[first + 1], lines[first], *lines[first + 2 :]]
    (change,) = changes(SIX, "".join(moved))
    assert (change.author, change.chain, change.lines) == (Author.KUBE_PROXY, "chain KUBE-SERVICES", 2)
    assert set(change.removed) == set(change.added)


def added(before: str, after: str) -> ForeignChange:
    (change,) = changes(before, after)
    return change


def inserted(rule: str, behind: str) -> str:
    assert behind in SIX
    return SIX.replace(behind, f"{behind}\n\t\t{rule}", 1)


@pytest.mark.parametrize(
    ("rule", "behind", "author"),
    [
        (" counter jump cali-INPUT", "hook forward priority filter; policy accept;", Author.CALICO),
        ('iifname "cali1"  counter goto cali-fw-cali1', "chain cali-wl-to-host {", Author.CALICO),
        ("  meta mark & 0x00010000 == 0x00010000 counter accept", "chain FORWARD {", Author.CALICO),
        ("ct state new  counter jump KUBE-NODEPORTS", "chain FORWARD {", Author.KUBE_PROXY),
        ("counter jump KUBE-FIREWALL", "chain FORWARD {", Author.KUBELET),
        ("ip saddr 127.0.0.0/8 drop", "chain KUBE-FIREWALL {", Author.KUBELET),
        ("ip daddr 172.18.0.1 counter jump DOCKER_OUTPUT", "chain POSTROUTING {", Author.DOCKER),
        ("ip daddr 10.0.0.1 tcp dport 80 counter jump CNI-HOSTPORT-DNAT", "chain PREROUTING {", Author.CNI),
        ("meta l4proto tcp counter jump ISTIO_INBOUND", "chain PREROUTING {", Author.ISTIO),
        ("ip saddr 6.6.6.6 counter drop", "chain FORWARD {", Author.UNKNOWN),
        ("ip saddr 6.6.6.6 counter jump MINE", "chain FORWARD {", Author.UNKNOWN),
        ('ip saddr 6.6.6.6 accept comment "jump KUBE-SERVICES"', "chain FORWARD {", Author.UNKNOWN),
        ('ip saddr 6.6.6.6 accept comment "to jump KUBE-SERVICES"', "chain FORWARD {", Author.UNKNOWN),
        ('counter jump KUBE-SERVICES comment "kubernetes"', "chain FORWARD {", Author.KUBE_PROXY),
    ],
)
def test_a_rule_is_theirs_in_whose_chain_it_is_or_to_whose_it_leads(
    rule: str, behind: str, author: Author
) -> None:
    change = added(SIX, inserted(rule, behind))
    assert (change.author, change.added, change.removed) == (author, (rule.strip(),), ())


@pytest.mark.parametrize(
    ("header", "author"),
    [
        ("chain KUBE-KUBELET-CANARY {", Author.KUBELET),
        ("chain KUBE-SEP-X {", Author.KUBE_PROXY),
        ("chain cali-po-x {", Author.CALICO),
        ("chain DOCKER-ISOLATION-STAGE-1 {", Author.DOCKER),
        ("chain DOCKER-USER {", Author.UNKNOWN),
        ("chain mine {", Author.UNKNOWN),
    ],
)
def test_a_chain_is_theirs_who_name_chains_so(header: str, author: Author) -> None:
    after = SIX.replace(
        "table ip nat {\n", f"table ip nat {{\n\t{header}\n\t\tip saddr 6.6.6.6 drop\n\t}}\n\n"
    )
    assert {change.author for change in changes(SIX, after)} == {author}
    assert [change.chain for change in changes(SIX, after)] == ["", header.removesuffix(" {")]


NATIVE = """\
table ip kube-proxy {
\tmap service-ips {
\t\ttype ipv4_addr . inet_proto . inet_service : verdict
\t\telements = { 10.96.0.1 . tcp . 443 : goto service-2QRHZV4L-default/kubernetes/tcp/https }
\t}

\tchain services {
\t\tip daddr . meta l4proto . th dport vmap @service-ips
\t}
}
"""


@pytest.mark.parametrize(
    ("table", "author"),
    [
        ("ip kube-proxy", Author.KUBE_PROXY),
        ("ip6 calico", Author.CALICO),
        ("inet istio-proxy-nat", Author.ISTIO),
        ("ip docker-bridges", Author.DOCKER),
        ("inet cni_hostport", Author.CNI),
        ("inet filter", Author.UNKNOWN),
    ],
)
def test_all_of_a_table_of_their_own_is_theirs(table: str, author: Author) -> None:
    theirs = NATIVE.replace("ip kube-proxy", table)
    assert {change.author for change in changes(FOREIGN, FOREIGN + theirs)} == {author}
    another = theirs.replace("10.96.0.1", "10.96.0.2").replace("th dport", "th sport")
    found = changes(theirs, another)
    assert [(change.author, change.chain) for change in found] == [
        (author, "map service-ips"),
        (author, "chain services"),
    ]


def chain(*rules: str) -> str:
    return "\n".join(
        ("table ip filter {", "\tchain INPUT {", *(f"\t\t{rule}" for rule in rules), "\t}", "}\n")
    )


CALI, KUBE, MINE, OTHER = (
    "counter jump cali-INPUT",
    "counter jump KUBE-NODEPORTS",
    "tcp dport 22 accept",
    "drop",
)


def test_who_puts_his_jump_before_others_has_moved_it_not_they() -> None:
    (change,) = changes(chain(MINE, CALI), chain(CALI, MINE))
    assert (change.author, change.removed, change.added) == (Author.CALICO, (CALI,), (CALI,))
    (change,) = changes(chain(CALI, MINE), chain(MINE, CALI))
    assert change.author is Author.CALICO
    assert lines_by_author(chain(CALI, KUBE, MINE), chain(KUBE, CALI, MINE)) == {"Calico": 1, "kube-proxy": 1}


def test_unknown_rules_in_another_order_are_a_change_of_unknown_author() -> None:
    assert lines_by_author(chain(CALI, MINE, OTHER), chain(CALI, OTHER, MINE)) == {"unknown": 2}
    assert lines_by_author(chain(MINE, CALI, OTHER), chain(CALI, OTHER, MINE))["unknown"] == 2


def test_a_rule_taken_out_of_two_alike_is_missed() -> None:
    (change,) = changes(chain(MINE, MINE), chain(MINE))
    assert (change.removed, change.added, change.lines) == ((MINE,), (), 1)


def ruleset(rules: int, *, port: int) -> str:
    """Twenty chains of rules of nobody's, two sets with many elements."""
    lines = [
        f"ip saddr 10.{n >> 8 & 255}.{n & 255}.0/24 tcp dport {n % port} counter accept" for n in range(rules)
    ]
    chains = [
        "\n".join((f"\tchain c{index} {{", *(f"\t\t{line}" for line in lines[index::20]), "\t}\n"))
        for index in range(20)
    ]
    elements = ",\n\t\t\t     ".join(f"10.0.{n >> 8}.{n & 255}" for n in range(rules // 10))
    sets = [
        f"\tset s{index} {{\n\t\ttype ipv4_addr\n\t\telements = {{ {elements} }}\n\t}}\n"
        for index in range(2)
    ]
    return "table ip filter {\n" + "\n".join((*sets, *chains)) + "}\n"


def test_twenty_thousand_lines_are_compared_within_a_second() -> None:
    before, after = ruleset(17_000, port=60_000), ruleset(17_000, port=59_999)
    reversed_rules = "\n".join(reversed(after.split("\n")))
    assert len(before.split("\n")) > 20_000
    started = time.process_time()
    assert changes(before, before) == ()
    assert fingerprint(before) == fingerprint(before + OURS)
    assert time.process_time() - started < 1
    for other in (after, reversed_rules, ""):
        started = time.process_time()
        changes(before, other)
        assert time.process_time() - started < 1


@pytest.mark.parametrize(
    "hostile",
    [
        "table inet chaosext_a {\n" * 20_000,
        "\tset x {\n\t\tflags " + "a," * 200_000 + "\n",
        "\t\telements = { " + "1.1.1.1 expires " * 50_000,
        "\t\tcounter packets " + "1" * 400_000,
        "\t\tip saddr " + "jump " * 100_000,
        "\t\t" + "used 1 " * 100_000,
    ],
)
def test_no_text_takes_long(hostile: str) -> None:
    started = time.process_time()
    changes(hostile, hostile + "x")
    fingerprint(hostile)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    "torn", ["table ", "table {\n chain {\n", "table ip x {\n {\n\t{\n}\n", "table \r\n x {"]
)
def test_a_listing_that_was_torn_is_a_change_of_unknown_author(torn: str) -> None:
    whole = "table ip filter {\n}\n"
    for found in (changes(whole, torn), changes(torn, whole)):
        assert {change.author for change in found} == {Author.UNKNOWN}
