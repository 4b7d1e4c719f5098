"""What is known to be unhealthy: excused while it is as before or better, and nothing else ever is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosext.model.findings import Evidence, Finding, Status, worst
from chaosext.model.known_unhealthy import (
    Became,
    Known,
    KnownObject,
    KnownUnhealthy,
    became,
    coarse,
    entries_of,
    expired,
    measure,
    share_of,
)

NOW = datetime(2026, 11, 23, 23, 3, tzinfo=UTC)
GOOD, BAD, DARK = Status.HEALTHY, Status.UNHEALTHY, Status.UNKNOWN


def entry(name: str, check: str = "probes_healthy", **more: Any) -> KnownUnhealthy:
    return KnownUnhealthy(check=check, object=name, reason="CHG-1", until=NOW + timedelta(days=1), **more)


def row(subject: str, status: Status = BAD, share: tuple[int, int] | None = None, **more: Any) -> Evidence:
    return Evidence(subject=subject, status=status, detail="so", share=share, **more)


def finding(*rows: Evidence, check: str = "probes_healthy") -> Finding:
    return Finding(
        check=check,
        status=worst(each.status for each in rows if each.counts),
        summary="1 of 2",
        evidence=rows,
    )


CART, CART2, FRONT = (
    "Pod/shop/cart-6c9f7d5b8-kx2vn",
    "Pod/shop/cart-6c9f7d5b8-p9w7t",
    "Pod/shop/front-5d8c9b7c4-p9w7t",
)
CARTS = entry("Pod/shop/cart-*")


@pytest.mark.parametrize(
    ("name", "subject", "covered"),
    [
        ("Pod/shop/cart-*", CART, True),
        ("Pod/shop/cart-*", FRONT, False),
        ("Pod/shop/cart-*", "Pod/bank/cart-6c9f7d5b8-kx2vn", False),
        ("Pod/shop/*", CART, False),
        ("*", CART, False),
        (CART, CART, True),
        ("Node/w", "Node/w", True),
        ("Node/w", "Node/w → 10.2.112.10:53/udp", True),
        ("Node/w", "Node/w2 → 10.2.112.10:53/udp", False),
        ("Node/w", "Leaf → Node/w", False),
        ("Deployment/shop/cart", "Deployment/shop/cart", True),
    ],
)
def test_an_entry_covers_what_it_names_and_nothing_beyond(name: str, subject: str, covered: bool) -> None:
    assert entry(name).covers(subject) is covered


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        (CART, "Pod/shop/cart-*"),
        ("Node/w → 10.2.112.10:53/udp", "Node/w"),
        ("Leaf → Node/w", "Leaf → Node/w"),
    ],
)
def test_an_object_is_called_by_what_outlasts_a_run(subject: str, name: str) -> None:
    assert coarse(subject) == name
    assert entry(name).covers(subject)


def test_what_is_known_does_not_count_and_is_named() -> None:
    found = Known(entries=(CARTS,)).excuse(finding(row(CART), row(FRONT, GOOD)))
    assert (found.status, found.summary) == (GOOD, "all else is well; known and no worse: Pod/shop/cart-*")
    assert [each.known for each in found.evidence] == ["CHG-1", ""]
    assert found.evidence[0].status is BAD  # it is not called healthy


def test_what_is_not_known_counts_beside_it() -> None:
    found = Known(entries=(CARTS,)).excuse(finding(row(CART), row(FRONT)))
    assert (found.status, found.summary) == (BAD, f"{FRONT}: so; known and no worse: Pod/shop/cart-*")


def test_an_entry_of_another_check_excuses_nothing() -> None:
    assert Known(entries=(entry("Pod/shop/cart-*", "xds_synced"),)).excuse(finding(row(CART))).status is BAD


def test_unknown_is_never_excused() -> None:
    """Not even of what is known to be unhealthy: who could not look does not know that it is no worse."""
    found = Known(entries=(CARTS,)).excuse(finding(row(CART, DARK), row(FRONT, GOOD)))
    assert (found.status, found.evidence[0].known) == (DARK, "")


def test_what_is_vital_is_never_excused() -> None:
    dns = entry("Service/kube-system/kube-dns", "dns_resolvable")
    dead = finding(row("Service/kube-system/kube-dns", vital=True), check="dns_resolvable")
    assert Known(entries=(dns,)).excuse(dead).status is BAD


def test_where_nothing_else_is_left_nothing_is_known_to_be_well() -> None:
    found = Known(entries=(CARTS,)).excuse(finding(row(CART), row("x", GOOD, counts=False)))
    assert (found.status, found.summary[:31]) == (DARK, "nothing else is left to judge; ")
    assert Known(entries=(CARTS,)).excuse(finding(row(CART)), otherwise=GOOD).status is GOOD


@pytest.mark.parametrize(
    ("share", "status"),
    [((1, 3), GOOD), ((2, 3), GOOD), ((3, 3), GOOD), ((0, 3), BAD)],
)
def test_as_before_or_better_is_excused_and_worse_is_not(share: tuple[int, int], status: Status) -> None:
    """At the baseline 1 of 3 replicas was available."""
    known = entry("Deployment/shop/cart")
    judged = Known(entries=(known,), before={known: Fraction(1, 3)}).excuse(
        finding(row("Deployment/shop/cart", GOOD if share == (3, 3) else BAD, share), row(FRONT, GOOD))
    )
    assert judged.status is status
    if status is BAD:
        assert judged.evidence[0].detail == "so (known, and worse than before: 0 of 3 well)"


def test_what_was_well_at_the_baseline_is_not_excused_later() -> None:
    assert Known(entries=(CARTS,), before={}).excuse(finding(row(CART), row(FRONT, GOOD))).status is BAD


def test_what_is_worse_than_when_it_was_saved_is_not_excused_at_the_baseline() -> None:
    known = entry("Deployment/shop/cart", was="1 of 3")
    for before in (None, {known: Fraction(0)}):
        judged = Known(entries=(known,), before=before).excuse(
            finding(row("Deployment/shop/cart", BAD, (0, 3)), row(FRONT, GOOD))
        )
        assert judged.status is BAD


def test_one_more_unhealthy_pod_of_a_known_owner_is_worse() -> None:
    before = measure(CARTS, finding(row(CART), row(CART2, GOOD)))
    assert before
    known = Known(entries=(CARTS,), before={CARTS: before.share})
    again = finding(row("Pod/shop/cart-6c9f7d5b8-xxxxx"), row(CART2, GOOD))
    assert known.excuse(again).status is GOOD
    assert known.excuse(finding(row(CART), row(CART2))).status is BAD


def test_a_dead_node_that_is_known_excuses_what_cant_be_asked_from_it_where_that_is_named() -> None:
    lookups = finding(
        row("Node/w → 10.2.112.10:53/udp", DARK), row("Node/v → x", GOOD), check="dns_resolvable"
    )
    named = entry("Node/w", "dns_resolvable")
    assert Known(entries=(named,), dead=frozenset({"Node/w"})).excuse(lookups).status is GOOD
    assert Known(entries=(named,)).excuse(lookups).status is DARK
    assert Known(dead=frozenset({"Node/w"})).excuse(lookups).status is DARK


SUBJECTS = st.sampled_from([CART, CART2, FRONT, "Node/w → x"])


@given(
    st.lists(st.tuples(SUBJECTS, st.sampled_from(Status), st.booleans(), st.booleans())),
    st.lists(st.sampled_from(["Pod/shop/cart-*", FRONT, "Node/w"]), unique=True),
    st.none() | st.sampled_from([Fraction(0), Fraction(1, 2), Fraction(1)]),
)
def test_no_excuse_makes_healthy_what_is_unknown_vital_or_unnamed(
    rows: list[tuple[str, Status, bool, bool]], names: list[str], before: Fraction | None
) -> None:
    found = finding(*(row(name, status, counts=counts, vital=vital) for name, status, counts, vital in rows))
    entries = tuple(map(entry, names))
    known = Known(entries=entries, before=None if before is None else dict.fromkeys(entries, before))
    judged = known.excuse(found)
    assert [(each.subject, each.status) for each in judged.evidence] == [
        (each.subject, each.status) for each in found.evidence
    ]
    for each in judged.evidence:
        if each.known:
            assert each.status is BAD
            assert each.counts
            assert not each.vital
            assert any(one.covers(each.subject) for one in entries)
    left = [each.status for each in judged.evidence if each.counts and not each.known]
    assert judged.status is worst(left)


@pytest.mark.parametrize("text", ["1 of 3", "0 of 1", "2.5 of 3", "3 of 3"])
def test_a_share_is_read(text: str) -> None:
    good, _, total = text.partition(" of ")
    assert share_of(text) == Fraction(good) / Fraction(total)


@pytest.mark.parametrize(
    "text", ["", "1", "1 of", "4 of 3", "0 of 0", "-1 of 3", "1 of 3.5", "1/3", "nan of 3"]
)
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a share"):
        share_of(text)


@given(st.integers(0, 30), st.integers(1, 30), st.integers(1, 5))
def test_what_is_written_down_is_never_more_than_it_was(good: int, parts: int, rows: int) -> None:
    """Else a state that stays exactly as it was would be called worse."""
    many = finding(
        *(row(f"Pod/shop/cart-6c9f7d5b8-kx2v{n}", BAD, (min(good, parts), parts)) for n in range(rows))
    )
    found = measure(CARTS, many)
    assert (found is None) == (rows > 0 and not any(CARTS.covers(each.subject) for each in many.evidence))
    if found:
        assert share_of(str(found)) <= found.share


def test_saved_entries_are_those_that_are_unhealthy_and_excuse_exactly_that() -> None:
    probes = finding(row(CART), row(CART2, GOOD), row(FRONT, GOOD), row("x", BAD, counts=False))
    nodes = finding(row("Node/w"), row("Node/v", GOOD), check="nodes_ready")
    lookups = finding(
        row("Node/w → a", DARK), row("Node/v → a", DARK), row("S", BAD, vital=True), check="dns_resolvable"
    )
    saved = entries_of((probes, nodes, lookups), until=NOW, reason="why")
    assert [(str(each), each.was, each.reason) for each in saved] == [
        ("probes_healthy: Pod/shop/cart-*", "1 of 2", "why"),
        ("nodes_ready: Node/w", "0 of 1", "why"),
        ("dns_resolvable: Node/w", "0 of 1", "why"),
    ]
    known = Known(entries=saved, dead=frozenset({"Node/w"}))
    assert [known.excuse(each).status for each in (probes, nodes)] == [GOOD, GOOD]


def test_what_became_of_it() -> None:
    def seen(*rows: Evidence) -> Any:
        return measure(CARTS, finding(*rows))

    half, none, whole = (
        seen(row(CART, a), row(CART2, b)) for a, b in ((BAD, GOOD), (BAD, BAD), (GOOD, GOOD))
    )
    assert became(CARTS, half, half).became is Became.SAME
    assert became(CARTS, half, none).became is Became.WORSE
    assert became(CARTS, half, whole).became is Became.BETTER
    assert became(CARTS, None, None).became is Became.NO_MATCH
    assert became(CARTS, None, whole).became is Became.NO_MATCH
    assert became(CARTS, None, half).became is Became.WORSE
    assert became(CARTS, half, None).became is Became.SAME
    known = became(CARTS, half, none)
    assert (known.at_baseline, known.at_end) == ("1 of 2", "0 of 2")
    assert known.said == (
        "probes_healthy: Pod/shop/cart-*, 0 of 2 well, worse; CHG-1, until 2026-11-24 23:03 UTC"
    )
    assert KnownObject.from_json(known.to_json()) == known
    saved = replace(CARTS, was="1 of 2")
    assert msgspec.convert(saved.to_json(), KnownUnhealthy) == saved


def test_an_entry_expires_at_its_moment() -> None:
    assert expired((CARTS,), CARTS.until - timedelta(seconds=1)) == ()
    assert expired((CARTS,), CARTS.until) == (CARTS,)
