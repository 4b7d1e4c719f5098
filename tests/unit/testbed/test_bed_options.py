"""What a testbed's options come to, what makes no sense together, and that a record keeps all of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosext.model.errors import Refused
from chaosext.testbed.bed_choices import DnsChoice, MeshChoice, PodNetwork, Sidecars, StoryMitigation
from chaosext.testbed.bed_options import BedOptions, make_options, recorded_options

SENSELESS = [
    ({"dns": "on-control-plane"}, "dns on-control-plane", "bgp-on-control-plane"),
    ({"mesh": "none", "sidecars": "classic"}, "sidecars 'classic'", "--mesh istio"),
    ({"mesh": "none", "mitigations": ["dns-capture"]}, "mitigation dns-capture", "--mesh istio"),
    ({"mesh": "istio-dns-capture", "mitigations": ["dns-capture"]}, "mitigation dns-capture", "remove"),
    ({"mitigations": ["serve-stale"]}, "mitigation serve-stale", "nodelocal-dns"),
    ({"dns": "nodelocal-serve-stale", "mitigations": ["serve-stale"]}, "mitigation serve-stale", "remove"),
    ({"dns": "nodelocal", "mitigations": ["nodelocal-dns"]}, "mitigation nodelocal-dns", "--dns coredns"),
    ({"dns": "dns-daemonset", "mitigations": ["nodelocal-dns"]}, "mitigation nodelocal-dns", "--dns coredns"),
    ({"dns": "dns-daemonset", "mitigations": ["dns-affinity"]}, "mitigation dns-affinity", "remove"),
    ({"dns": "dns-daemonset", "mitigations": ["longer-tolerations"]}, "longer-tolerations", "remove"),
    ({"dns": "dns-daemonset", "mitigations": ["spread"]}, "mitigation spread", "remove"),
    (
        {"dns": "on-control-plane", "mitigations": ["bgp-on-control-plane", "dns-affinity"]},
        "mitigation dns-affinity",
        "--dns coredns",
    ),
    (
        {"dns": "on-control-plane", "mitigations": ["bgp-on-control-plane", "spread"]},
        "mitigation spread",
        "--dns coredns",
    ),
    (
        {"mitigations": ["reflectors-off-control-plane"]},
        "mitigation reflectors-off-control-plane",
        "--network calico-reflectors",
    ),
]


@pytest.mark.parametrize(("options", "field", "fix"), SENSELESS)
def test_what_makes_no_sense_is_refused_with_its_field_and_a_fix(options, field, fix):
    with pytest.raises(Refused) as refused:
        make_options(**options)

    assert field in refused.value.message
    assert fix in refused.value.fix


@pytest.mark.parametrize(
    ("name", "field"),
    [({"mesh": "linkerd"}, "mesh"), ({"dns": "bind9"}, "dns"), ({"network": "ether"}, "network")],
)
def test_an_unknown_name_is_refused_with_the_known_ones(name, field):
    with pytest.raises(Refused, match=field) as refused:
        make_options(**name)

    assert refused.value.fix


def test_the_defaults_are_native_sidecars_and_kubeadms_dns():
    made = make_options()

    assert (made.mesh, made.sidecars, made.dns) == (MeshChoice.ISTIO, Sidecars.NATIVE, DnsChoice.COREDNS)
    assert made.mitigations == ()


@pytest.mark.parametrize(
    ("dns", "mitigations", "in_force"),
    [
        ("coredns", [], DnsChoice.COREDNS),
        ("coredns", ["nodelocal-dns"], DnsChoice.NODELOCAL),
        ("coredns", ["nodelocal-dns", "serve-stale"], DnsChoice.NODELOCAL_SERVE_STALE),
        ("nodelocal", ["serve-stale"], DnsChoice.NODELOCAL_SERVE_STALE),
        ("nodelocal-serve-stale", [], DnsChoice.NODELOCAL_SERVE_STALE),
        ("dns-daemonset", [], DnsChoice.DNS_DAEMONSET),
    ],
)
def test_mitigations_of_dns_come_to_the_same_as_the_choice(dns, mitigations, in_force):
    assert make_options(dns=dns, mitigations=mitigations).dns_in_force is in_force


def test_lookups_are_captured_by_choice_or_mitigation():
    assert make_options(mesh="istio-dns-capture").captures_dns
    assert make_options(mitigations=["dns-capture"]).captures_dns
    assert not make_options().captures_dns


def test_control_plane_nodes_are_reached_once_they_peer():
    assert not make_options().control_plane_is_reached
    assert make_options(mitigations=["bgp-on-control-plane"]).control_plane_is_reached


OPTIONS = st.builds(
    BedOptions,
    network=st.sampled_from(PodNetwork),
    mesh=st.sampled_from(MeshChoice),
    sidecars=st.just(Sidecars.NATIVE) | st.just(Sidecars.CLASSIC),
    dns=st.sampled_from(DnsChoice),
    mitigations=st.sets(st.sampled_from(StoryMitigation)).map(lambda found: tuple(sorted(found))),
)


@given(OPTIONS)
def test_a_record_keeps_every_option(options):
    found = recorded_options(options.record())

    assert found.record() == options.record()
    assert found == options or not options.is_meshed


def test_the_record_of_an_older_chaosext_is_the_incidents_testbed():
    old = recorded_options({"sidecars": "classic", "mitigations": "dns-affinity"})

    assert old == make_options(sidecars="classic", mitigations=["dns-affinity"])


@given(OPTIONS)
def test_options_that_are_not_given_are_those_of_the_existing_testbed(options):
    try:
        made = make_options(existing=options.record())
    except Refused:
        return

    assert made.record() == options.record()


def test_a_given_option_replaces_that_of_the_existing_testbed():
    existing = make_options(sidecars="classic", mitigations=["spread"]).record()
    made = make_options(existing=existing, sidecars="native", mitigations=["dns-affinity"])

    assert made == make_options(sidecars="native", mitigations=["dns-affinity"])
