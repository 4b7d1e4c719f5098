"""The options of a testbed together: what they come to, and which combinations make no sense. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.model.errors import Refused
from chaosext.testbed.bed_choices import DnsChoice, MeshChoice, PodNetwork, Sidecars, StoryMitigation, chosen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

NONE = "none"
"""What a record says of sidecars without a mesh, and of mitigations if there are none."""

LEAF_NETWORKS = frozenset({PodNetwork.CALICO_BGP, PodNetwork.CALICO_RACKS})
"""Networks in which only workers have a session with a leaf: no other node reaches a control-plane node's Pods."""

REFLECTOR_NETWORKS = frozenset({PodNetwork.CALICO_REFLECTORS})
"""Networks whose route reflectors are the control-plane nodes."""

CACHES = frozenset({DnsChoice.NODELOCAL, DnsChoice.NODELOCAL_SERVE_STALE})
"""Choices with a cache on each node."""

OF_A_DEPLOYMENT = (
    StoryMitigation.DNS_AFFINITY,
    StoryMitigation.LONGER_TOLERATIONS,
    StoryMitigation.SPREAD,
)
"""Mitigations that patch the template of kube-dns' Deployment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BedOptions:
    """What a testbed is made of, as asked for. Three mitigations come to the same as a choice of DNS or mesh."""

    network: PodNetwork = PodNetwork.CALICO_BGP
    mesh: MeshChoice = MeshChoice.ISTIO
    sidecars: Sidecars = Sidecars.NATIVE
    dns: DnsChoice = DnsChoice.COREDNS
    mitigations: tuple[StoryMitigation, ...] = ()

    @property
    def is_meshed(self) -> bool:
        """Whether the shop's Pods have sidecars."""
        return self.mesh is not MeshChoice.NONE

    @property
    def captures_dns(self) -> bool:
        """Whether sidecars answer lookups of Services."""
        return self.mesh is MeshChoice.ISTIO_DNS_CAPTURE or StoryMitigation.DNS_CAPTURE in self.mitigations

    @property
    def dns_in_force(self) -> DnsChoice:
        """The choice of DNS after the mitigations that replace it."""
        cached = self.dns in CACHES or StoryMitigation.NODELOCAL_DNS in self.mitigations
        if cached and StoryMitigation.SERVE_STALE in self.mitigations:
            return DnsChoice.NODELOCAL_SERVE_STALE
        return DnsChoice.NODELOCAL if cached and self.dns not in CACHES else self.dns

    @property
    def caches_on_nodes(self) -> bool:
        """Whether Pods ask a cache on their node."""
        return self.dns_in_force in CACHES

    @property
    def control_plane_is_reached(self) -> bool:
        """Whether other nodes reach the Pods of control-plane nodes."""
        return self.network not in LEAF_NETWORKS or StoryMitigation.BGP_ON_CONTROL_PLANE in self.mitigations

    def record(self) -> dict[str, str]:
        """Return these options for the testbed's record."""
        return {
            "network": self.network.value,
            "mesh": self.mesh.value,
            "sidecars": self.sidecars.value if self.is_meshed else NONE,
            "dns": self.dns.value,
            "mitigations": ",".join(self.mitigations) or NONE,
        }


def recorded_options(record: Mapping[str, str]) -> BedOptions:
    """Return the options in a testbed's record."""
    sidecars, mitigations = record.get("sidecars", NONE), record.get("mitigations", NONE)
    return BedOptions(
        network=PodNetwork(record.get("network", PodNetwork.CALICO_BGP)),
        mesh=MeshChoice(record.get("mesh", MeshChoice.ISTIO)),
        sidecars=Sidecars.NATIVE if sidecars == NONE else Sidecars(sidecars),
        dns=DnsChoice(record.get("dns", DnsChoice.COREDNS)),
        mitigations=tuple(StoryMitigation(each) for each in mitigations.split(",") if mitigations != NONE),
    )


def make_options(
    *,
    network: str | None = None,
    mesh: str | None = None,
    sidecars: str | None = None,
    dns: str | None = None,
    mitigations: Iterable[str] = (),
    existing: Mapping[str, str] | None = None,
) -> BedOptions:
    """Return the options with these names; those not given are as in the `existing` record, or the default.

    Raises `Refused`, which names the field and the fix, for unknown names and senseless combinations.
    """
    base = recorded_options(existing) if existing else BedOptions()
    wanted = {chosen(StoryMitigation, each, "mitigation") for each in mitigations}
    made = BedOptions(
        network=chosen(PodNetwork, network or base.network, "network"),
        mesh=chosen(MeshChoice, mesh or base.mesh, "mesh"),
        sidecars=chosen(Sidecars, sidecars or base.sidecars, "sidecars"),
        dns=chosen(DnsChoice, dns or base.dns, "dns"),
        mitigations=tuple(sorted(wanted or base.mitigations)),
    )
    if sidecars and not made.is_meshed:
        raise Refused(
            f"sidecars {sidecars!r}: mesh none has no sidecars", "remove --sidecars, or set --mesh istio"
        )
    if problem := next(_senseless(made), None):
        raise Refused(*problem)
    return made


def _senseless(options: BedOptions) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a combination, and its fix."""
    network, dns = options.network, options.dns
    if dns is DnsChoice.ON_CONTROL_PLANE and not options.control_plane_is_reached:
        why = (
            f"dns {dns}: on {network} no worker reaches Pods of control-plane nodes, so no lookup is answered"
        )
        yield why, "add --mitigation bgp-on-control-plane, or choose a network such as calico-vxlan"
    for each in options.mitigations:
        if idle := _idle(each, options):
            message, fix = idle
            yield f"mitigation {each}: {message}", fix


def _idle(mitigation: StoryMitigation, options: BedOptions) -> tuple[str, str] | None:
    """Return why a mitigation can't have an effect with the other options, and the fix; None if it can."""
    drop, dns = f"remove --mitigation {mitigation}", options.dns
    if mitigation in OF_A_DEPLOYMENT and dns is DnsChoice.DNS_DAEMONSET:
        return "dns dns-daemonset is a DaemonSet, whose Pods stay on their nodes", drop
    if mitigation is StoryMitigation.DNS_AFFINITY and dns is DnsChoice.ON_CONTROL_PLANE:
        return "dns on-control-plane puts kube-dns where it must not be then", "set --dns coredns"
    if mitigation is StoryMitigation.SPREAD and dns is DnsChoice.ON_CONTROL_PLANE:
        return "dns on-control-plane puts both Pods of kube-dns on one node", "set --dns coredns"
    if mitigation is StoryMitigation.BGP_ON_CONTROL_PLANE and options.network not in LEAF_NETWORKS:
        return (
            f"network {options.network} has no leaf that routes to Pods",
            f"{drop}, or set --network calico-bgp",
        )
    if (
        mitigation is StoryMitigation.REFLECTORS_OFF_CONTROL_PLANE
        and options.network not in REFLECTOR_NETWORKS
    ):
        return (
            f"network {options.network} has no route reflectors on nodes",
            f"{drop}, or set --network calico-reflectors",
        )
    if mitigation is StoryMitigation.NODELOCAL_DNS and dns is not DnsChoice.COREDNS:
        return f"dns {dns} is another choice already", f"{drop}, or set --dns coredns"
    if mitigation is StoryMitigation.SERVE_STALE and not options.caches_on_nodes:
        return "no node has a cache", "add --mitigation nodelocal-dns, or set --dns nodelocal"
    if mitigation is StoryMitigation.SERVE_STALE and dns is DnsChoice.NODELOCAL_SERVE_STALE:
        return f"dns {dns} does so already", drop
    if mitigation is StoryMitigation.DNS_CAPTURE and options.mesh is not MeshChoice.ISTIO:
        return f"mesh {options.mesh} has no sidecar to turn it on in", f"{drop}, or set --mesh istio"
    return None
