"""The cells of the matrix: names, options of the testbed, and which cells differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosext.matrix.cells import (
    DNS_CHOICES,
    MESHES,
    MITIGATIONS,
    NETWORKS,
    VARIANTS,
    MatrixCell,
    matching,
    no_difference,
    planned_cells,
    wanted_cells,
)
from chaosext.model.errors import Refused
from chaosext.testbed.bed_choices import DnsChoice, MeshChoice, PodNetwork, Sidecars, StoryMitigation

if TYPE_CHECKING:
    from enum import StrEnum

CELLS = st.builds(
    MatrixCell,
    network=st.sampled_from(NETWORKS),
    mesh=st.sampled_from(MESHES),
    dns=st.sampled_from(DNS_CHOICES),
    mitigations=st.sets(st.sampled_from(MITIGATIONS)).map(sorted).map(tuple),
    variant=st.sampled_from(("", *VARIANTS)),
)


@pytest.mark.parametrize(
    ("named", "choices"),
    [(NETWORKS, PodNetwork), (DNS_CHOICES, DnsChoice), (MITIGATIONS, StoryMitigation)],
    ids=["network", "dns", "mitigation"],
)
def test_cells_have_every_option_of_the_testbed(named: tuple[str, ...], choices: type[StrEnum]) -> None:
    assert set(named) == {each.value for each in choices}


def test_cells_have_every_mesh_and_kind_of_sidecar_of_the_testbed() -> None:
    assert set(MESHES) == {*MeshChoice, f"{MeshChoice.ISTIO}-{Sidecars.CLASSIC}"}


@given(cell=CELLS)
def test_name_of_a_cell_names_it_again(cell: MatrixCell) -> None:
    assert MatrixCell.named(cell.name) == cell


@pytest.mark.parametrize(
    ("short", "name"),
    [
        ("macvlan", "macvlan/istio/coredns"),
        ("macvlan/none", "macvlan/none/coredns"),
        ("calico-bgp+dns-affinity", "calico-bgp/istio/coredns+dns-affinity"),
        ("calico-bgp@production", "calico-bgp/istio/coredns@production"),
        ("calico-bgp+spread+dns-affinity", "calico-bgp/istio/coredns+dns-affinity+spread"),
    ],
)
def test_parts_left_out_of_a_name_are_the_defaults(short: str, name: str) -> None:
    assert MatrixCell.named(short).name == name


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("calico-bpg", "network 'calico-bpg'"),
        ("calico-bgp/isto", "mesh 'isto'"),
        ("calico-bgp/istio/corends", "dns 'corends'"),
        ("calico-bgp+dns-afinity", "mitigation 'dns-afinity'"),
        ("calico-bgp@prod", "variant 'prod'"),
        ("a/b/c/d", "'a/b/c/d'"),
        ("calico-bgp@", "'calico-bgp@'"),
        ("", "network ''"),
    ],
)
def test_wrong_part_of_a_name_is_refused_by_its_field(name: str, field: str) -> None:
    with pytest.raises(Refused, match=field) as refused:
        MatrixCell.named(name)
    assert refused.value.fix


def test_matrix_has_each_cell_once_and_each_differs() -> None:
    planned = planned_cells()
    assert len(set(planned)) == len(planned)
    assert [each.name for each in planned if no_difference(each)] == []


@pytest.mark.parametrize("network", NETWORKS)
def test_matrix_begins_with_every_network_with_and_without_mesh(network: str) -> None:
    first = {each.name for each in planned_cells()[: 2 * len(NETWORKS)]}
    assert {f"{network}/istio/coredns", f"{network}/none/coredns"} <= first


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("calico-bgp+nodelocal-dns", "nodelocal-dns is dns nodelocal"),
        ("calico-bgp+dns-capture", "dns-capture is mesh istio-dns-capture"),
        ("flannel+dns-affinity", "flannel heals without dns-affinity"),
        ("calico-bgp/istio/on-control-plane", "no worker reaches Pods of control-plane nodes"),
        ("calico-bgp+reflectors-off-control-plane", "has no route reflectors"),
        ("calico-bgp+dns-affinity+spread", "played alone"),
        ("flannel/istio-classic", "classic sidecars differ only"),
    ],
)
def test_cell_that_shows_nothing_else_is_not_in_the_matrix(name: str, why: str) -> None:
    assert why in no_difference(MatrixCell.named(name))
    assert MatrixCell.named(name) not in planned_cells()


def test_options_of_the_testbed_leave_out_defaults() -> None:
    assert MatrixCell.named("calico-bgp").up_options == ("--sidecars", "native")
    assert MatrixCell.named("macvlan/none").up_options == ("--network", "macvlan", "--mesh", "none")
    assert MatrixCell.named("calico-bgp/istio-classic/coredns+dns-affinity@production").up_options == (
        *("--timings", "production"),
        *("--sidecars", "classic"),
        *("--mitigation", "dns-affinity"),
    )


def test_cut_outlasts_a_hold_time_only_where_sessions_cross_it() -> None:
    lasting = {each for each in NETWORKS if MatrixCell(network=each).cut_for_s}
    assert lasting == {"calico-reflectors", "calico-mesh", "kube-router"}


def test_cells_are_chosen_by_name_and_by_pattern_in_the_order_asked_for() -> None:
    chosen = wanted_cells(["macvlan/none", "calico-bgp"], ["flannel/none/*"])
    assert [each.name for each in chosen[:3]] == [
        "macvlan/none/coredns",
        "calico-bgp/istio/coredns",
        "flannel/none/coredns",
    ]
    assert wanted_cells((), ()) == planned_cells()
    assert wanted_cells(["macvlan/none"], ["macvlan/none/coredns"]) == (MatrixCell.named("macvlan/none"),)


def test_combination_that_the_testbed_refuses_is_refused_before_anything_is_played() -> None:
    with pytest.raises(Refused, match="no lookup is answered"):
        wanted_cells(["calico-bgp/istio/on-control-plane"], ())


def test_pattern_that_matches_nothing_is_refused() -> None:
    with pytest.raises(Refused, match="--cells 'calcio\\*' matches no cell"):
        wanted_cells((), ["calcio*"])


def test_pattern_matches_across_the_parts_of_a_name() -> None:
    assert {each.network for each in matching(planned_cells(), ["*dns-affinity"])} == {
        "calico-bgp",
        "calico-racks",
    }
