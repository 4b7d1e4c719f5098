"""Whatever the cut: the kernel's answer, read as facts, is the cut again."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

import pytest
from example_counts import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaosext.partition.cut import FAMILIES, Cut, NodeCut
from chaosext.partition.foreign_rules import fingerprint
from chaosext.partition.nft import (
    arm_ruleset,
    discrepancies,
    parse_tables,
    renew_ruleset,
)

from .lab import NODE

if TYPE_CHECKING:
    from .lab import Lab

pytestmark = pytest.mark.netns

V4 = st.builds(
    lambda bits, length: IPv4Network((bits >> (32 - length) << (32 - length), length)),
    st.integers(10 << 24, (10 << 24) + 4095),  # close together: adjacent and nested ones happen
    st.integers(20, 32),
)
V6 = st.builds(
    lambda bits, length: IPv6Network((bits >> (128 - length) << (128 - length), length)),
    st.integers(0xFD00 << 112, (0xFD00 << 112) + 4095),
    st.integers(116, 128),
)
UPLINKS = st.lists(
    st.sampled_from(["eth0", "eth1", "bond0.100", "br-lan", "eno1np0"]), min_size=1, max_size=4
)


@st.composite
def cuts(draw: st.DrawFn) -> Cut:
    families = draw(st.sampled_from([("ipv4",), ("ipv6",), FAMILIES]))
    peers = draw(st.lists(V4, min_size=1, max_size=10)) + draw(st.lists(V6, min_size=1, max_size=10))
    node = NodeCut(node="cp", uplinks=tuple(draw(UPLINKS)))
    owner = draw(st.from_regex(r"[A-Za-z0-9@._-]{1,40}", fullmatch=True))
    run = draw(st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True))
    ttl_s = draw(st.floats(30, 900))
    return Cut(run=run, owner=owner, nodes=(node,), peers=tuple(peers), ttl_s=ttl_s, families=families)


@settings(max_examples=examples(30), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=cuts())
def test_the_kernels_answer_is_the_cut_again_armed_and_renewed(lab: Lab, cut: Cut) -> None:
    lab.nft(NODE, "flush ruleset\n")
    for ruleset in (arm_ruleset, renew_ruleset):
        armed_at = datetime.now(UTC)
        lab.nft(NODE, ruleset(cut, cut.nodes[0], armed_at))
        (facts,) = parse_tables(lab.inside_run(NODE, "nft", "-j", "list", "ruleset"))
        assert discrepancies(cut, cut.nodes[0], facts) == ()
        assert 0 < (facts.until - cut.expires_at(armed_at)).total_seconds() <= 1
        assert fingerprint(lab.rules(NODE)) == ""


@settings(max_examples=examples(15), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=cuts(), delay_s=st.floats(15, 60))
def test_a_delay_is_read_back_as_well(lab: Lab, cut: Cut, delay_s: float) -> None:
    lab.nft(NODE, "flush ruleset\n")
    late = replace(cut, delay_s=delay_s)
    lab.nft(NODE, arm_ruleset(late, late.nodes[0], datetime.now(UTC)))
    (facts,) = parse_tables(lab.inside_run(NODE, "nft", "-j", "list", "ruleset"))
    assert discrepancies(late, late.nodes[0], facts) == ()
    assert discrepancies(cut, cut.nodes[0], facts) != ()


def test_the_rules_load_as_a_check_on_any_nft(lab: Lab) -> None:
    """`nft --check` of the very text that a dry run shows."""
    cut = lab.cut()
    text = arm_ruleset(cut, cut.nodes[0], datetime.now(UTC))
    argv = ["ip", "netns", "exec", lab.name(NODE), "nft", "--check", "-f", "-"]
    done = subprocess.run(argv, input=text, text=True, stderr=sys.stderr, timeout=10, check=False)
    assert done.returncode == 0
    assert lab.rules(NODE) == ""
