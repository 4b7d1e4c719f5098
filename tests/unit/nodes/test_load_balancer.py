"""What Envoy is told about the clusters behind it, and what it says of them."""

import json

import pytest

from chaosext.model.errors import Refused, Unreachable
from chaosext.model.load_balancer_state import Failover, Member
from chaosext.nodes.load_balancer import (
    EnvoyEntry,
    Times,
    assignment,
    changed,
    parse_assignment,
    parse_drained,
    parse_healthy,
)
from chaosext.nodes.shell import ShellResult

WAY = Member(cluster="way", addresses=("172.18.0.3:30080", "172.18.0.4:30080"))
OTHER = Member(cluster="way-b", addresses=("172.18.0.7:30080",))


def host(address, zone, **health):
    ip, _, port = address.partition(":")
    socket = {"address": ip, "port_value": int(port)}
    return {"address": {"socket_address": socket}, "health_status": health, "locality": {"zone": zone}}


def statuses(*hosts):
    others = {"name": "another"}
    return json.dumps({"cluster_statuses": [others, {"name": "shop", "host_statuses": list(hosts)}]})


@pytest.mark.parametrize("drained", [False, True])
@pytest.mark.parametrize("failover", Failover)
def test_what_is_written_is_read_back(drained, failover):
    member = changed(WAY, "way", drained, failover)

    assert parse_assignment(assignment([OTHER, member])) == (member, OTHER)


def test_a_drained_cluster_is_draining_and_the_other_is_not():
    way, other = json.loads(assignment([changed(WAY, "way", True, None), OTHER]))["resources"][0]["endpoints"]

    assert {each["health_status"] for each in way["lb_endpoints"]} == {"DRAINING"}
    assert {each["health_status"] for each in other["lb_endpoints"]} == {"HEALTHY"}


def test_each_cluster_weighs_the_same_however_many_addresses_it_has():
    localities = json.loads(assignment([WAY, OTHER]))["resources"][0]["endpoints"]

    assert [each["load_balancing_weight"] for each in localities] == [1, 1]


def test_by_hand_means_that_no_address_is_checked():
    (locality,) = json.loads(assignment([changed(WAY, "way", None, Failover.BY_HAND)]))["resources"][0][
        "endpoints"
    ]

    configs = [each["endpoint"]["health_check_config"] for each in locality["lb_endpoints"]]
    assert configs == [{"disable_active_health_check": True}] * 2


def test_an_address_that_fails_its_check_is_not_healthy():
    said = statuses(
        host("172.18.0.3:30080", "way", failed_active_health_check=True, eds_health_status="HEALTHY"),
        host("172.18.0.4:30080", "way", eds_health_status="HEALTHY"),
        host("172.18.0.7:30080", "way-b", eds_health_status="DRAINING"),
    )

    assert parse_healthy(said) == {"way": 1, "way-b": 1}
    assert parse_drained(said) == {"172.18.0.7:30080"}


def test_what_envoy_does_not_know_yet_is_no_answer():
    with pytest.raises(ValueError):
        parse_healthy(json.dumps({"cluster_statuses": []}))


def test_only_the_cluster_that_is_meant_changes():
    assert changed(OTHER, "way", True, Failover.BY_HAND) == OTHER


@pytest.mark.parametrize(
    ("member", "serves", "said"),
    [
        ({"healthy": 2}, True, "in service, 2 of 2"),
        ({"healthy": 0}, False, "taken out by the health check, 0 of 2"),
        ({"healthy": 2, "drained": True}, False, "drained by hand"),
        ({"healthy": 2, "failover": Failover.BY_HAND}, True, "in service, unchecked"),
    ],
)
def test_a_member_says_whether_customers_are_sent_to_it(member, serves, said):
    found = Member(cluster="way", addresses=WAY.addresses, **member)

    assert found.serves is serves
    assert found.state.startswith(said)


def test_what_comes_late_is_dated_by_what_came_least_late():
    times = Times()

    assert times.here(10.0, 1010.5) == 1010.5
    assert times.here(11.0, 1011.1) == pytest.approx(1011.1)
    assert times.here(12.0, 1019.0) == pytest.approx(1012.1)


class Shell:
    """A container that answers `lines` to whoever asks; `after` each change of the assignment."""

    node = "way-entry"

    def __init__(self, members):
        self.text, self.put = assignment(members), 0
        self.follows = True
        self.others = 0
        self.shown = self.text

    def run(self, script, *, stdin="", timeout_s):
        if stdin and self.others:
            self.others -= 1
            self.text = self.shown = assignment(parse_assignment(self.text)[::-1])
            return ShellResult(76, "", "")
        if stdin:
            self.text, self.put = stdin, self.put + 1
            self.shown = stdin if self.follows else self.shown
            return ShellResult(0, "", "")
        hosts = [
            host(address, each.cluster, eds_health_status="DRAINING" if each.drained else "HEALTHY")
            for each in parse_assignment(self.shown)
            for address in each.addresses
        ]
        return ShellResult(0, f"{self.text}\t{statuses(*hosts)}\t12.5\n", "")


def test_a_change_is_put_once_and_seen_in_force():
    shell = Shell([WAY, OTHER])
    entry = EnvoyEntry(envoy=shell, customers=shell)

    entry.change("way", drained=True)
    entry.change("way", drained=True)

    assert shell.put == 1
    assert [(each.cluster, each.drained, each.healthy) for each in entry.look()] == [
        ("way", True, 2),
        ("way-b", False, 1),
    ]


def test_a_change_that_others_came_before_is_made_on_what_they_left():
    shell = Shell([WAY, OTHER])
    shell.others = 1

    EnvoyEntry(envoy=shell, customers=shell).change("way", drained=True)

    assert shell.put == 1


def test_an_envoy_that_does_not_follow_is_not_believed(monkeypatch):
    monkeypatch.setattr("chaosext.nodes.load_balancer.TAKE_S", 0.0)
    shell = Shell([WAY, OTHER])
    shell.follows = False

    with pytest.raises(Unreachable, match="did not follow"):
        EnvoyEntry(envoy=shell, customers=shell).change("way", drained=True)


def test_an_unknown_cluster_is_refused_by_name():
    shell = Shell([WAY, OTHER])

    with pytest.raises(Refused, match="behind it are: way, way-b"):
        EnvoyEntry(envoy=shell, customers=shell).change("elsewhere", drained=True)
    assert shell.put == 0
