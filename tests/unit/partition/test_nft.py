"""The rules of a cut against golden texts, and nft's answers (recorded from nft 1.0.6) read as facts."""

from __future__ import annotations

import copy
import json
import re
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from checkout import ROOT

from chaosext.model.errors import Refused
from chaosext.partition.cut import Cut, NodeCut, peers_of
from chaosext.partition.nft import (
    ON_NODE,
    Header,
    Lasting,
    TableFacts,
    arm_ruleset,
    disarm_ruleset,
    discrepancies,
    drops_nothing,
    lost,
    parse_tables,
    renew_ruleset,
)

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = ROOT / "tests" / "golden" / "nft"
ARMED_AT = datetime(2026, 10, 2, 12, 0, 0, 250_000, tzinfo=UTC)
NODE = NodeCut(node="cp-1", uplinks=("eth1", "eth0"))
DUAL = Cut(
    run="r1",
    owner="alice@laptop",
    nodes=(NODE,),
    peers=peers_of(["10.0.0.2", "10.0.0.3", "fc00::2"], ["10.244.0.0/16"]),
    ttl_s=90.0,
)
IPV4 = Cut(
    run="r2",
    owner="alice@laptop",
    nodes=(NodeCut(node="cp-1", uplinks=("eth0",)),),
    peers=DUAL.peers,
    ttl_s=2.5,
    families=("ipv4",),
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("arm-dual-stack.nft", lambda: arm_ruleset(DUAL, NODE, ARMED_AT)),
        ("arm-ipv4-only.nft", lambda: arm_ruleset(IPV4, IPV4.nodes[0], ARMED_AT)),
        ("renew-dual-stack.nft", lambda: renew_ruleset(DUAL, NODE, ARMED_AT)),
        ("disarm.nft", lambda: disarm_ruleset("r1")),
    ],
)
def test_the_rules_are_exactly_these(name: str, text: Callable[[], str]) -> None:
    assert text() == (GOLDEN / name).read_text()


def test_nothing_outside_the_runs_own_table_is_named_or_flushed() -> None:
    texts = (arm_ruleset(DUAL, NODE, ARMED_AT), renew_ruleset(DUAL, NODE, ARMED_AT), disarm_ruleset("r1"))
    for line in "\n".join(texts).splitlines():
        statement = line.split()
        if statement and not line.startswith((" ", "}", "#")):
            assert statement[statement.index("inet") + 1] == "chaosext_r1", line
        assert "flush" not in line or line.startswith("flush chain inet chaosext_r1 ")


def test_a_run_that_could_break_out_of_the_disarm_is_refused() -> None:
    with pytest.raises(Refused):
        disarm_ruleset("x; flush ruleset")


def recorded() -> dict[str, Any]:
    """`nft -j list table inet chaosext_r1` after arming arm-dual-stack.nft, on nft 1.0.6, plus a foreign table."""
    return json.loads((GOLDEN / "armed-dual-stack.json").read_text())


def test_what_was_armed_is_read_back_as_the_cut() -> None:
    (facts,) = parse_tables(json.dumps(recorded()))
    assert discrepancies(DUAL, NODE, facts) == ()
    assert (facts.run, facts.owner, facts.until) == (
        "r1",
        "alice@laptop",
        datetime(2026, 10, 2, 12, 1, 31, tzinfo=UTC),
    )
    assert facts.is_live
    assert facts.remaining_s == 89
    assert facts.dropped_packets == 0


def expressions(answer: dict[str, Any], comment_ends: str) -> list[dict[str, Any]]:
    rules = [item["rule"] for item in answer["nftables"] if "rule" in item]
    (rule,) = [rule for rule in rules if rule.get("comment", "").endswith(comment_ends)]
    return rule["expr"]


def without_elements(answer: dict[str, Any]) -> None:
    for item in answer["nftables"]:
        item.get("set", {}).pop("elem", None)


def with_other_priority(answer: dict[str, Any]) -> None:
    next(item for item in answer["nftables"] if "chain" in item)["chain"]["prio"] = 0


def with_other_hook(answer: dict[str, Any]) -> None:
    next(item for item in answer["nftables"] if "chain" in item)["chain"]["hook"] = "forward"


def with_verdict_accept(answer: dict[str, Any]) -> None:
    expressions(answer, "in ipv6")[-1] = {"accept": None}


def with_other_uplink(answer: dict[str, Any]) -> None:
    expressions(answer, "out ipv4")[0]["match"]["right"] = "eth7"


def with_all_but_the_peers(answer: dict[str, Any]) -> None:
    expressions(answer, "out ipv4")[1]["match"]["op"] = "!="


def with_other_timeout(answer: dict[str, Any]) -> None:
    for item in answer["nftables"]:
        for element in item.get("set", {}).get("elem", ()):
            element["elem"]["timeout"] = 3600


def without_timeout(answer: dict[str, Any]) -> None:
    for item in answer["nftables"]:
        if item.get("set", {}).get("name") == "peers6":
            item["set"]["elem"] = ["fc00::2"]


def without_a_rule(answer: dict[str, Any]) -> None:
    answer["nftables"].pop()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (without_elements, "peers"),
        (with_other_priority, "rules"),
        (with_other_hook, "rules"),
        (with_verdict_accept, "rules"),
        (with_other_uplink, "rules"),
        (with_all_but_the_peers, "rules"),
        (without_a_rule, "rules"),
        (with_other_timeout, "timeouts"),
        (without_timeout, "timeouts"),
    ],
)
def test_whatever_differs_from_the_cut_is_named(change: Any, named: str) -> None:
    answer = copy.deepcopy(recorded())
    change(answer)
    (facts,) = parse_tables(json.dumps(answer))
    assert any(line.startswith(f"{named}: wanted ") for line in discrepancies(DUAL, NODE, facts))


def test_another_owner_is_named() -> None:
    (facts,) = parse_tables(json.dumps(recorded()).replace("alice@laptop", "bob@desk"))
    assert discrepancies(DUAL, NODE, facts) == ("owner: wanted alice@laptop, found bob@desk",)


def test_after_the_ttl_the_table_cuts_nothing() -> None:
    answer = recorded()
    without_elements(answer)
    (facts,) = parse_tables(json.dumps(answer))
    assert not facts.is_live
    assert facts.remaining_s == 0


def test_a_table_whose_comments_are_unreadable_is_seen_and_not_ours() -> None:
    (facts,) = parse_tables(json.dumps({"nftables": [{"table": {"family": "inet", "name": "chaosext_x9"}}]}))
    assert (facts.run, facts.owner, facts.until) == ("x9", "", None)
    assert not facts.is_ours


def test_foreign_tables_are_passed_over() -> None:
    tables = [{"table": {"family": f, "name": n}} for f, n in [("ip", "chaosext_x"), ("inet", "filter")]]
    assert parse_tables(json.dumps({"nftables": tables})) == ()


@pytest.mark.parametrize("text", ["", "{}", "[]", "Error: syntax error", '{"nftables": [{"table": {}}]}'])
def test_what_is_no_answer_of_nft_is_an_error_not_an_empty_list(text: str) -> None:
    with pytest.raises(ValueError):
        parse_tables(text)


def test_each_difference_is_told_in_full() -> None:
    (facts,) = parse_tables(json.dumps(recorded()))
    wanted = replace(
        DUAL, run="r9", owner="eve", peers=peers_of(["10.0.0.9"]), ttl_s=60.0, families=("ipv4",)
    )
    uplinks = NodeCut(node="cp-1", uplinks=("eth7",))
    found = "('in', 'ipv4', ('eth0', 'eth1')), ('in', 'ipv6', ('eth0', 'eth1'))"
    also = "('out', 'ipv4', ('eth0', 'eth1')), ('out', 'ipv6', ('eth0', 'eth1'))"
    assert discrepancies(wanted, uplinks, facts) == (
        "run: wanted r9, found r1",
        "owner: wanted eve, found alice@laptop",
        "peers: wanted 10.0.0.9/32, found 10.0.0.2/31, 10.244.0.0/16, fc00::2/128",
        "timeouts: wanted 60, found 90",
        f"rules: wanted ('in', 'ipv4', ('eth7',)), ('out', 'ipv4', ('eth7',)), found {found}, {also}",
    )


def test_nothing_found_is_said_so() -> None:
    answer = recorded()
    without_elements(answer)
    (facts,) = parse_tables(json.dumps(answer))
    assert discrepancies(DUAL, NODE, facts)[1] == "timeouts: wanted 90, found nothing"


def test_timeouts_are_compared_in_whole_seconds() -> None:
    answer = json.dumps(recorded()).replace('"timeout": 90', '"timeout": 999')
    (facts,) = parse_tables(answer)
    assert discrepancies(replace(DUAL, ttl_s=999.5), NODE, facts) == ()


def test_what_another_family_has_in_a_table_of_that_name_is_not_ours() -> None:
    answer = recorded()
    (own,) = parse_tables(json.dumps(answer))
    others = [
        item for item in copy.deepcopy(answer["nftables"]) if "table" not in item and "metainfo" not in item
    ]
    for item in others:
        (part,) = item.values()
        part["family"] = "ip"
        if "elem" in part:
            part["elem"] = ["192.0.2.1"]
    answer["nftables"] += others
    assert parse_tables(json.dumps(answer)) == (own,)


def test_elements_and_counters_as_nft_may_write_them() -> None:
    answer = recorded()
    expressions(answer, "in ipv4")[2]["counter"]["packets"] = 7
    for item in answer["nftables"]:
        if item.get("set", {}).get("name") == "peers6":
            item["set"]["elem"] = ["fc00::2", {"prefix": {"addr": "fd00::", "len": 8}}]
    (facts,) = parse_tables(json.dumps(answer))
    assert facts.dropped_packets == 7
    bare = {
        str(peer.network): (peer.timeout_s, peer.remaining_s)
        for peer in facts.peers
        if peer.network.version == 6
    }
    assert bare == {"fc00::2/128": (None, 0), "fd00::/8": (None, 0)}


@pytest.mark.parametrize("key", ["timeout", "expires"])
def test_a_time_that_is_no_whole_number_is_no_answer(key: str) -> None:
    text = re.sub(rf'"{key}": \d+', f'"{key}": "soon"', json.dumps(recorded()))
    with pytest.raises(
        ValueError, match="not an answer of nft -j: TypeError\\(\"'soon' is not a whole number\"\\)"
    ):
        parse_tables(text)


def test_a_rule_of_ours_without_a_match_is_no_drop() -> None:
    answer = recorded()
    expressions(answer, "in ipv4")[0] = {"counter": {"packets": 0, "bytes": 0}}
    (facts,) = parse_tables(json.dumps(answer))
    assert len(facts.drops) == 3


def test_a_rule_with_more_than_the_drop_is_not_the_drop() -> None:
    answer = recorded()
    expressions(answer, "in ipv4").insert(
        0, {"match": {"op": "==", "left": {"meta": {"key": "mark"}}, "right": 1}}
    )
    (facts,) = parse_tables(json.dumps(answer))
    assert len(facts.drops) == 3


def test_the_label_is_in_utc_wherever_the_runner_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert "until=2026-10-02T12:01:31Z" in arm_ruleset(DUAL, NODE, ARMED_AT)
    finally:
        monkeypatch.undo()
        time.tzset()


# Rules that leave their times to the node


def test_rules_leave_their_times_to_the_node_where_asked_to() -> None:
    delayed = replace(DUAL, delay_s=15.0)
    for ruleset in (arm_ruleset, renew_ruleset):
        text = ruleset(delayed, NODE, ARMED_AT, lasting=ON_NODE)
        literal = text.replace("@armed@", "105000").replace("@delay@", "15000")
        assert literal == ruleset(delayed, NODE, ARMED_AT)
        assert "@armed@" in text
    assert Lasting.of(delayed) == Lasting(armed=105_000, delay=15_000)


def test_a_transaction_begins_with_what_it_rests_on() -> None:
    for ruleset in (arm_ruleset, renew_ruleset):
        text = ruleset(DUAL, NODE, ARMED_AT, first=("delete element inet x y { 1 }",))
        assert text == f"delete element inet x y {{ 1 }}\n{ruleset(DUAL, NODE, ARMED_AT)}"


# Whose a table is


def marked(answer: dict[str, Any]) -> TableFacts:
    (facts,) = parse_tables(json.dumps(answer))
    return facts


def test_a_table_is_ours_by_what_is_in_it() -> None:
    assert marked(recorded()).is_ours


def test_a_table_of_that_name_with_rules_of_another_is_not_ours() -> None:
    answer = json.loads(json.dumps(recorded()).replace("chaosext run=r1", "the operator's own"))
    assert not marked(answer).is_ours
    answer = json.loads(json.dumps(recorded()).replace("chaosext run=r1 ", "chaosext run=r2 "))
    assert not marked(answer).is_ours


@pytest.mark.parametrize(
    "part",
    [
        {"chain": {"family": "inet", "table": "chaosext_r1", "name": "input", "hook": "input", "prio": 0}},
        {"set": {"family": "inet", "table": "chaosext_r1", "name": "allowed", "type": "ipv4_addr"}},
        {
            "map": {
                "family": "inet",
                "table": "chaosext_r1",
                "name": "peers4",
                "type": "mark",
                "map": "verdict",
            }
        },
        {"counter": {"family": "inet", "table": "chaosext_r1", "name": "mine", "packets": 0, "bytes": 0}},
    ],
)
def test_a_table_that_holds_something_else_as_well_is_not_ours(part: dict[str, Any]) -> None:
    answer = recorded()
    answer["nftables"].append(part)
    (kind,) = part
    named = part[kind]["name"]
    if kind == "map":  # a name that a set of a cut may have
        part[kind]["name"] = named = "verdicts"
    assert marked(answer).foreign_parts == (f"{kind} {named}",)
    assert not marked(answer).is_ours
    assert lost(DUAL, NODE, marked(answer)) == ("rules were added to the table of the cut",)


def test_a_table_whose_rules_are_gone_is_ours_by_its_own_comment() -> None:
    answer = {"nftables": [item for item in recorded()["nftables"] if "rule" not in item]}
    said = "chaosext run=r1 owner=alice@laptop until=2026-10-02T12:01:31Z unless renewed"
    header = Header.parse(["table inet chaosext_r1 {", f'\tcomment "{said}"'])
    (facts,) = parse_tables(json.dumps(answer), header)
    assert (facts.is_ours, facts.owner) == (True, "alice@laptop")
    assert not marked(answer).is_ours


def test_what_a_renewed_rule_says_goes_before_the_comment_of_the_table() -> None:
    header = Header(comment="chaosext run=r1 owner=bob@desk until=2020-01-01T00:00:00Z unless renewed")
    (facts,) = parse_tables(json.dumps(recorded()), header)
    assert facts.owner == "alice@laptop"


# A cut that others change


def of_the_cut(answer: dict[str, Any], family: str) -> list[Any]:
    name = {"ipv4": "peers4", "ipv6": "peers6"}[family]
    return next(item["set"] for item in answer["nftables"] if item.get("set", {}).get("name") == name)["elem"]


def with_policy_drop(answer: dict[str, Any]) -> None:
    next(item for item in answer["nftables"] if "chain" in item)["chain"]["policy"] = "drop"


def without_rules(answer: dict[str, Any]) -> None:
    answer["nftables"] = [item for item in answer["nftables"] if "rule" not in item]


def with_a_rule_that_accepts(answer: dict[str, Any]) -> None:
    own = {"family": "inet", "table": "chaosext_r1", "chain": "inbound", "handle": 99}
    answer["nftables"].insert(4, {"rule": {**own, "expr": [{"accept": None}]}})


def without_one_peer(answer: dict[str, Any]) -> None:
    of_the_cut(answer, "ipv4").pop(0)


def with_another_peer(answer: dict[str, Any]) -> None:
    of_the_cut(answer, "ipv6").append({"elem": {"val": "fc00::9", "timeout": 90, "expires": 89}})


def with_other_peers(answer: dict[str, Any]) -> None:
    with_another_peer(answer)
    of_the_cut(answer, "ipv6").append({"elem": {"val": "fc00::b", "timeout": 90, "expires": 89}})


def with_a_peer_that_never_expires(answer: dict[str, Any]) -> None:
    of_the_cut(answer, "ipv6")[0] = "fc00::2"


def with_a_longer_timeout(answer: dict[str, Any]) -> None:
    of_the_cut(answer, "ipv6")[0]["elem"]["timeout"] = 92


def with_flags(answer: dict[str, Any]) -> None:
    tables = (item["table"] for item in answer["nftables"] if "table" in item)
    next(table for table in tables if table["name"] == "chaosext_r1")["flags"] = "inet"  # as nft 1.0.6 has it


LOSSES = {
    without_rules: "4 of 4 rules of the cut were removed or changed",
    without_a_rule: "1 of 4 rules of the cut were removed or changed",
    with_verdict_accept: "1 of 4 rules of the cut were removed or changed",
    with_other_uplink: "1 of 4 rules of the cut were removed or changed",
    with_policy_drop: "2 of 4 rules of the cut were removed or changed",
    with_a_rule_that_accepts: "rules were added to the table of the cut",
    without_elements: "all addresses were removed from the cut",
    without_one_peer: "1 of 3 addresses and prefixes were removed from the cut (",
    with_other_peers: "addresses and prefixes were added to the cut (fc00::9 and 1 more)",
    with_another_peer: "addresses and prefixes were added to the cut (fc00::9)",
    with_a_peer_that_never_expires: "the time at which the cut ends was changed (fc00::2)",
    with_a_longer_timeout: "the time at which the cut ends was changed (fc00::2)",
    with_flags: "the table of the cut was made dormant: it drops nothing",
}


@pytest.mark.parametrize("change", LOSSES, ids=lambda change: change.__name__)
def test_lost_names_what_others_did_to_a_cut_in_force(change: Any) -> None:
    answer = recorded()
    change(answer)
    (said,) = lost(DUAL, NODE, marked(answer))
    assert said.startswith(LOSSES[change])


def test_lost_finds_nothing_in_a_whole_cut_however_old_it_is() -> None:
    text = json.dumps(recorded())
    for timeout_s, expires_s in ((90, 89), (30, 2), (0, 0), (91, 90)):
        aged = re.sub(r'"timeout": \d+', f'"timeout": {timeout_s}', text)
        aged = re.sub(r'"expires": \d+', f'"expires": {expires_s}', aged)
        (facts,) = parse_tables(aged)
        assert lost(DUAL, NODE, facts) == ()


def test_lost_names_a_table_that_is_gone() -> None:
    assert lost(DUAL, NODE, None) == ("all rules of the cut were removed",)
    assert lost(DUAL, NODE, None, expired=True) == ("all rules of the cut were removed",)


def test_lost_takes_an_expired_cut_for_no_loss() -> None:
    answer = recorded()
    without_elements(answer)
    assert lost(DUAL, NODE, marked(answer), expired=True) == ()
    without_a_rule(answer)
    assert lost(DUAL, NODE, marked(answer), expired=True) == (
        "1 of 4 rules of the cut were removed or changed",
    )


def test_lost_names_rules_and_addresses_both() -> None:
    answer = recorded()
    without_a_rule(answer)
    without_elements(answer)
    assert len(lost(DUAL, NODE, marked(answer))) == 2


NOTHING_DROPPED = (without_rules, without_elements, with_flags)


@pytest.mark.parametrize("change", LOSSES, ids=lambda change: change.__name__)
def test_some_losses_leave_nothing_of_the_cut(change: Any) -> None:
    answer = recorded()
    change(answer)
    assert drops_nothing(marked(answer)) is (change in NOTHING_DROPPED)
    assert drops_nothing(marked(answer), expired=True) is (change in (without_rules, with_flags))


def test_a_whole_cut_drops_and_one_that_is_gone_does_not() -> None:
    assert drops_nothing(None) is True
    assert drops_nothing(None, expired=True) is True
    for expired in (False, True):
        assert drops_nothing(marked(recorded()), expired=expired) is False


def test_what_the_text_of_a_table_says_of_it() -> None:
    lines = ["table inet chaosext_r1 {", "\tflags owner,dormant", '\tcomment "chaosext run=r1 owner=X"', "}"]
    assert Header.parse(lines) == Header(table="chaosext_r1", comment="chaosext run=r1 owner=X", dormant=True)
    assert Header.parse(["chain x {", "\tflags owner"]) == Header(table="", comment="", dormant=False)
    assert Header.parse([]) == Header()


@pytest.mark.parametrize("json_text", ['{"nftables": [{"table": {"family": "inet", "flags": ', "", "{}"])
def test_a_dormant_table_that_nft_can_not_print_is_known_by_its_header(json_text: str) -> None:
    header = Header.parse(["table inet chaosext_r1 {", "\tflags dormant"])
    (facts,) = parse_tables(json_text, header)
    assert (facts.run, facts.dormant, facts.is_live) == ("r1", True, False)
    for other in (None, Header(), Header(table="filter", dormant=True), Header(table="chaosext_r1")):
        with pytest.raises(ValueError, match="not an answer"):
            parse_tables(json_text, other)


def test_a_read_back_with_more_than_the_cut_is_named() -> None:
    answer = recorded()
    with_a_rule_that_accepts(answer)
    assert discrepancies(DUAL, NODE, marked(answer)) == ("other rules: wanted 0, found 1",)
    answer = recorded()
    with_flags(answer)
    assert discrepancies(DUAL, NODE, marked(answer)) == ("dormant: wanted False, found True",)


DELAYED, LATER = replace(DUAL, delay_s=15.0), Lasting(armed=90_900, delay=15_900)


def delayed() -> TableFacts:
    """As the cut, and its peers still pass: for 15 s."""
    facts = marked(recorded())
    still_open = tuple(replace(peer, timeout_s=15) for peer in facts.peers)
    return replace(facts, still_open=still_open, passes=facts.drops)


def test_a_cut_with_a_delay_lets_its_peers_pass_until_then() -> None:
    assert discrepancies(DELAYED, NODE, delayed(), LATER) == ()


@pytest.mark.parametrize(
    ("changed", "cut", "named"),
    [
        ({"still_open": ()}, DELAYED, ("delayed peers", "delays")),
        ({"passes": ()}, DELAYED, ("delaying rules",)),
        ({}, DUAL, ("delayed peers", "delays", "delaying rules")),
        ({"foreign_parts": ("map m",)}, DELAYED, ("other parts",)),
    ],
)
def test_a_delay_that_is_not_as_asked_is_named(
    changed: dict[str, Any], cut: Cut, named: tuple[str, ...]
) -> None:
    found = discrepancies(cut, NODE, replace(delayed(), **changed), LATER)
    assert tuple(each.partition(":")[0] for each in found) == named


def test_another_delay_is_named_in_whole_seconds() -> None:
    (found,) = discrepancies(DELAYED, NODE, delayed(), Lasting(armed=90_900, delay=16_000))
    assert found == "delays: wanted 16, found 15"


def test_a_node_sets_the_times_that_it_was_told() -> None:
    text = json.dumps(recorded()).replace('"timeout": 90', '"timeout": 88')
    (facts,) = parse_tables(text)
    assert discrepancies(DUAL, NODE, facts, Lasting(armed=88_990, delay=0)) == ()
    assert discrepancies(DUAL, NODE, facts, Lasting(armed=87_990, delay=0)) == (
        "timeouts: wanted 87, found 88",
    )


def on_another_interface(rule: list[Any]) -> None:
    rule[0]["match"]["left"]["meta"]["key"] = "iif"


def of_one_type_only(rule: list[Any]) -> None:
    rule[1]["match"]["right"]["set"].pop()


def of_another_field(rule: list[Any]) -> None:
    rule[1]["match"]["left"]["payload"]["field"] = "code"


def with_a_counter(rule: list[Any]) -> None:
    rule.insert(2, {"counter": {"packets": 0, "bytes": 0}})


def that_drops(rule: list[Any]) -> None:
    rule[2] = {"drop": None}


@pytest.mark.parametrize(
    "change",
    [on_another_interface, of_one_type_only, of_another_field, with_a_counter, that_drops],
    ids=lambda change: change.__name__,
)
def test_a_rule_that_is_not_quite_the_neighbours_is_not_of_the_cut(
    change: Callable[[list[Any]], None],
) -> None:
    answer = recorded()
    assert marked(answer).foreign_rules == 0
    neighbours = next(
        item["rule"]["expr"]
        for item in answer["nftables"]
        if "rule" in item and "comment" not in item["rule"]
    )
    change(neighbours)
    assert marked(answer).foreign_rules == 1


def with_a_delay(answer: dict[str, Any]) -> None:
    """What it drops passes before that, for 15 s: by a set and a rule more for each."""
    items = []
    for item in answer["nftables"]:
        (kind,) = item
        if kind in ("set", "rule") and "peers" in json.dumps(item):
            other = json.loads(json.dumps(item).replace("@peers", "@open"))
            if kind == "set":
                other["set"]["name"] = item["set"]["name"].replace("peers", "open")
                for element in other["set"]["elem"]:
                    element["elem"]["timeout"] = 15
            else:
                del other["rule"]["comment"]
                other["rule"]["expr"][-1] = {"accept": None}
            items.append(other)
        items.append(item)
    answer["nftables"] = items


def test_a_cut_with_a_delay_is_read_back_with_what_still_passes() -> None:
    answer = recorded()
    with_a_delay(answer)
    facts = marked(answer)
    whole = marked(recorded())
    assert facts == replace(
        whole,
        passes=whole.drops,
        still_open=tuple(replace(peer, timeout_s=15) for peer in whole.peers),
    )
    assert (len(facts.passes), facts.foreign_rules) == (4, 0)
    assert discrepancies(DELAYED, NODE, facts, Lasting(armed=90_000, delay=15_000)) == ()
