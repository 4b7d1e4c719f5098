"""The cells of the matrix: the testbeds that differ in what a lost control plane costs. Pure.

A cell's name is `NETWORK/MESH/DNS`, then `+MITIGATION` for each mitigation, then `@VARIANT`:
`calico-bgp/istio/coredns+dns-affinity@production`. Parts left out at the end are the defaults.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import product
from typing import TYPE_CHECKING, Self

from chaosext.model.errors import Refused, did_you_mean
from chaosext.testbed.bed_options import LEAF_NETWORKS, make_options

if TYPE_CHECKING:
    from collections.abc import Iterable

NETWORKS = (
    "calico-bgp",
    "calico-racks",
    "calico-reflectors",
    "calico-mesh",
    "calico-vxlan",
    "flannel",
    "kube-router",
    "macvlan",
)
MESHES = ("istio", "istio-classic", "istio-dns-capture", "none")
"""`istio` has native sidecars, as Istio has by default since 1.27; `istio-classic` has none of them native."""
DNS_CHOICES = ("coredns", "on-control-plane", "nodelocal", "nodelocal-serve-stale", "dns-daemonset")
MITIGATIONS = (
    "dns-affinity",
    "bgp-on-control-plane",
    "longer-tolerations",
    "pause-evictions",
    "spread",
    "nodelocal-dns",
    "serve-stale",
    "dns-capture",
    "reflectors-off-control-plane",
)
PRODUCTION = "production"
VARIANTS = (PRODUCTION,)
"""`production`: Kubernetes' own grace period and tolerations, so a cut of minutes."""

HOLD_TIMES = frozenset({"calico-reflectors", "calico-mesh", "kube-router"})
"""Networks with BGP sessions across the cut, which end with their hold time. The cut must last longer to show it: 240 s
in BIRD without a setting (routes were seen to go after 159 s), 90 s in GoBGP."""

LONG_CUT_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixCell:
    """One testbed of the matrix."""

    network: str
    mesh: str = MESHES[0]
    dns: str = DNS_CHOICES[0]
    mitigations: tuple[str, ...] = ()
    variant: str = ""

    @classmethod
    def named(cls, name: str) -> Self:
        """Return the cell of that name. Raises `Refused`, which names the wrong part and the nearest name."""
        rest, at, variant = name.partition("@")
        place, *mitigations = rest.split("+")
        parts = place.split("/")
        if len(parts) > 3 or (at and not variant):
            raise Refused(
                f"{name!r} is not the name of a cell",
                "write NETWORK/MESH/DNS, such as calico-bgp/istio/coredns; `chaosext matrix list` shows them",
            )
        network, mesh, dns = (*parts, *(MESHES[0], DNS_CHOICES[0])[len(parts) - 1 :])
        return cls(
            network=_known(network, NETWORKS, "network"),
            mesh=_known(mesh, MESHES, "mesh"),
            dns=_known(dns, DNS_CHOICES, "dns"),
            mitigations=tuple(sorted({_known(each, MITIGATIONS, "mitigation") for each in mitigations})),
            variant=_known(variant, VARIANTS, "variant") if variant else "",
        )

    @property
    def name(self) -> str:
        place = f"{self.network}/{self.mesh}/{self.dns}"
        return "".join(
            (place, *(f"+{each}" for each in self.mitigations), f"@{self.variant}" * bool(self.variant))
        )

    def __str__(self) -> str:
        return self.name

    @property
    def without_mitigations(self) -> MatrixCell:
        return replace(self, mitigations=())

    @property
    def istio(self) -> str:
        """The testbed's choice of a mesh."""
        return "istio" if self.mesh == "istio-classic" else self.mesh

    @property
    def sidecars(self) -> str | None:
        """The testbed's choice of sidecars; None without a mesh."""
        return None if self.mesh == "none" else "classic" if self.mesh == "istio-classic" else "native"

    def require_possible(self) -> None:
        """Raise `Refused` if the testbed refuses this combination."""
        make_options(
            network=self.network,
            mesh=self.istio,
            sidecars=self.sidecars,
            dns=self.dns,
            mitigations=self.mitigations,
        )

    @property
    def cut_for_s(self) -> float | None:
        """The duration of the cut in seconds; None: as long as the experiment waits for kube-dns to move."""
        return LONG_CUT_S if self.network in HOLD_TIMES else None

    @property
    def up_options(self) -> tuple[str, ...]:
        """The options of `chaosext testbed up` that make this testbed; defaults are left out."""
        chosen = {
            "--network": (self.network, NETWORKS[0]),
            "--mesh": (self.istio, MESHES[0]),
            "--dns": (self.dns, DNS_CHOICES[0]),
            "--timings": (self.variant, ""),
        }
        options = [
            word
            for option, (value, default) in chosen.items()
            if value != default
            for word in (option, value)
        ]
        sidecars = ("--sidecars", self.sidecars) if self.sidecars else ()
        mitigations = [word for each in self.mitigations for word in ("--mitigation", each)]
        return (*options, *sidecars, *mitigations)


SAME_AS = {
    "nodelocal-dns": ("dns", "nodelocal"),
    "serve-stale": ("dns", "nodelocal-serve-stale"),
    "dns-capture": ("mesh", "istio-dns-capture"),
}
"""Mitigation -> the field and value of the cell that has it by another option."""

OF_THE_INCIDENT = frozenset(
    {"dns-affinity", "bgp-on-control-plane", "longer-tolerations", "pause-evictions", "spread"}
)


def no_difference(cell: MatrixCell) -> str:
    """Return why the cell shows nothing that another one does not; "" if it belongs into the matrix."""
    try:
        cell.require_possible()
    except Refused as error:
        return error.message
    for each in cell.mitigations:
        if each in SAME_AS:
            field, value = SAME_AS[each]
            return f"{each} is {field} {value}"
        if each in OF_THE_INCIDENT and cell.network not in LEAF_NETWORKS:
            return f"{cell.network} heals without {each}"
    if len(cell.mitigations) > 1:
        return "each mitigation is played alone"
    return _by_mesh(cell)


def _by_mesh(cell: MatrixCell) -> str:
    has_defaults = cell.dns == DNS_CHOICES[0]
    if cell.mitigations and not has_defaults:
        return "mitigations are played with coredns"
    if cell.mesh == "istio-classic" and not (cell.network in LEAF_NETWORKS and has_defaults):
        return "classic sidecars differ only in how Pods get stuck"
    if cell.mesh == "istio-dns-capture" and (
        cell.mitigations or cell.dns not in ("coredns", "on-control-plane")
    ):
        return "a sidecar that answers names makes the same difference with any DNS"
    return ""


def planned_cells() -> tuple[MatrixCell, ...]:
    """Return all cells of the matrix, the most telling first: those with the fewest options off their defaults."""
    every = (
        MatrixCell(network=network, mesh=mesh, dns=dns, mitigations=mitigations)
        for mitigations, dns, mesh, network in product(
            ((), *((each,) for each in MITIGATIONS)), DNS_CHOICES, MESHES, NETWORKS
        )
    )
    extra = MatrixCell(network="calico-bgp", variant=PRODUCTION)
    found = [*(each for each in every if not no_difference(each)), extra]
    return tuple(sorted(found, key=_distance))


def _distance(cell: MatrixCell) -> int:
    """Return how many options are off their defaults; a cell without a mesh shows the network alone, so it is near."""
    without_mesh = cell.mesh == "none"
    others = (cell.mesh != MESHES[0] and not without_mesh, cell.dns != DNS_CHOICES[0], cell.variant != "")
    return 2 * (sum(others) + len(cell.mitigations)) + without_mesh


def matching(cells: Iterable[MatrixCell], patterns: Iterable[str]) -> tuple[MatrixCell, ...]:
    """Return the cells whose names match one of the patterns (`*`, `?`, `[…]`), in their order."""
    wanted = tuple(patterns)
    return tuple(each for each in cells if any(fnmatchcase(each.name, pattern) for pattern in wanted))


def wanted_cells(names: Iterable[str], patterns: Iterable[str]) -> tuple[MatrixCell, ...]:
    """Return the named cells, then those of the matrix that match a pattern; the whole matrix without both.

    A named cell may be outside of the matrix. Raises `Refused` for an unknown name, for a combination that the testbed
    refuses, and for a pattern that matches nothing.
    """
    named, globs, planned = tuple(names), tuple(patterns), planned_cells()
    for pattern in globs:
        if not matching(planned, [pattern]):
            raise Refused(
                f"--cells {pattern!r} matches no cell", "see `chaosext matrix list` for their names"
            )
    found = [*map(MatrixCell.named, named), *matching(planned, globs)]
    for cell in found:
        cell.require_possible()
    return tuple(dict.fromkeys(found)) if named or globs else planned


def _known(value: str, known: tuple[str, ...], field: str) -> str:
    if value in known:
        return value
    raise Refused(f"{field} {value!r} is unknown", did_you_mean(value, known))
