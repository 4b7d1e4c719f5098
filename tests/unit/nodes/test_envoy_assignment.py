"""What Envoy is told about the clusters behind it, and what it says of them."""

import json

import pytest

from chaosext.model.entry import Failover, Member
from chaosext.nodes.entry import changed
from chaosext.nodes.envoy import assignment, parse_assignment, parse_drained, parse_healthy

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
