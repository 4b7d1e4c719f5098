"""The page of architectures: made from kept runs alone, and each cell says what it rests on."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from checkout import ROOT
from kept_cells import kept_cell

from chaosext.matrix.architecture_page import architecture_page
from chaosext.matrix.documented import DOCUMENTED
from chaosext.matrix.kept_runs import CellFailure, Explanation, MatrixStore, Prevention

if TYPE_CHECKING:
    from chaosext.matrix.kept_runs import KeptRun

STORY = "calico-bgp/istio/coredns"
PASSED = {"outcomes": {"resolvable": 1.0}, "verdict": "passed"}


def page(*runs: KeptRun) -> str:
    return architecture_page(runs, (), ())


def row(text: str, *words: str) -> str:
    found = [
        line for line in text.splitlines() if line.startswith("|") and all(word in line for word in words)
    ]
    assert len(found) == 1, found
    return found[0]


def test_committed_page_is_that_of_the_kept_runs() -> None:
    store = MatrixStore(ROOT / "matrix")
    made = architecture_page(store.runs(), store.failures(), store.explanations())
    assert (ROOT / "docs" / "architectures.md").read_text() == made, (
        "run `chaosext matrix page --output docs/architectures.md`"
    )


def test_page_does_not_depend_on_the_order_of_runs() -> None:
    runs = [kept_cell(STORY), kept_cell("flannel", "passed", **PASSED), kept_cell(STORY, number=2)]
    shuffled = random.Random(1).sample(runs, len(runs))
    assert page(*shuffled) == page(*runs)


def test_row_says_what_happened_when_it_was_seen_and_in_which_run() -> None:
    kept = kept_cell(STORY)
    found = row(page(kept), "| istio | coredns |")
    assert "2 nodes NotReady after 20.4s, 2 Pods evicted; DNS answers on workers" in found
    assert "kube-dns moves to control-plane" in found
    assert "**DNS dead on workers**" in found
    assert "| **no** |" in found
    assert f"2026-11-30, run {kept.run}" in found


def test_overview_shows_each_network_and_mesh_and_what_was_not_seen() -> None:
    text = page(kept_cell(STORY), kept_cell("flannel", "passed", **PASSED)).partition("## calico-bgp")[0]
    assert "| calico-bgp | **DNS dead on workers; 2 Pods stuck** | not seen |" in row(text, "| calico-bgp |")
    assert "| flannel | heals | not seen |" in row(text, "| flannel |")
    assert row(text, "| macvlan |").count("not seen") == 4


def test_mitigation_that_was_seen_comes_before_those_predicted() -> None:
    prevents = (
        Prevention(mitigation="dns-affinity", passes=1.0),
        Prevention(mitigation="bgp-on-control-plane", passes=0.97),
        Prevention(mitigation="spread", passes=0.4),
    )
    alone = page(kept_cell(STORY, prevents=prevents))
    assert "dns-affinity (predicted), bgp-on-control-plane (predicted) |" in row(
        alone, "| istio | coredns | – |"
    )
    both = page(kept_cell(STORY, prevents=prevents), kept_cell(f"{STORY}+dns-affinity", "passed", **PASSED))
    assert "| dns-affinity (seen), bgp-on-control-plane (predicted) |" in row(both, "| istio | coredns | – |")


def test_mitigation_that_did_not_help_when_seen_prevents_nothing() -> None:
    prevents = (Prevention(mitigation="dns-affinity", passes=1.0),)
    text = page(kept_cell(STORY, prevents=prevents), kept_cell(f"{STORY}+dns-affinity"))
    assert "| not known |" in row(text, "| istio | coredns | – |")


def test_option_that_a_mitigation_stands_for_counts_as_seen() -> None:
    text = page(kept_cell(STORY), kept_cell("calico-bgp/istio-dns-capture", "passed", **PASSED))
    assert "dns-capture (seen)" in row(text, "| istio | coredns | – |")


def test_cell_of_which_one_run_did_not_heal_does_not_heal() -> None:
    runs = (kept_cell(STORY), kept_cell(STORY, "passed", number=2, **PASSED))
    found = row(page(*runs), "| istio | coredns |")
    assert "**no**, in 1 of 2 runs" in found
    assert "and 1 more" in found


def test_run_whose_end_is_not_known_is_never_said_to_heal() -> None:
    found = row(page(kept_cell(STORY, "interrupted")), "| istio | coredns |")
    assert "| not known |" in found
    assert "DNS not known" in found


@pytest.mark.parametrize("each", DOCUMENTED, ids=lambda each: each.name)
def test_architecture_from_documents_names_its_sources(each: object) -> None:
    assert all(getattr(each, field) for field in ("name", "during", "after", "heals", "prevents", "sources"))


def test_every_miss_is_listed_with_its_explanation_or_without() -> None:
    kept = kept_cell(STORY, outcomes={"resolvable": 1.0}, verdict="passed")
    assert "**not explained**" in row(page(kept), "which was not predicted")
    why = Explanation(cells="calico-*", difference="DNS dead *", why="the model knew no leaf")
    assert "the model knew no leaf" in row(architecture_page([kept], (), [why]), "which was not predicted")


def test_cell_that_could_not_be_played_is_listed_with_its_reason() -> None:
    failure = CellFailure(
        cell="kube-router/istio/coredns", step="up", reason="a | b", at="2026-11-30T20:00:00+00:00"
    )
    assert "a \\| b" in row(architecture_page([], [failure], ()), "kube-router/istio/coredns")


def test_repeats_are_shown_with_their_test() -> None:
    text = page(*(kept_cell(STORY, number=number) for number in range(1, 11)))
    assert "| 10 of 10 | 90% |" in row(text, f"{STORY}: DNS dead after the heal")
