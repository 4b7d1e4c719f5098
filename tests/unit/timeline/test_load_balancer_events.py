"""The entry's news: which clusters it serves from, and when its customers were failed."""

from dataclasses import replace

from chaosext.model.load_balancer_state import Member, Second
from chaosext.model.timeline import Kind
from chaosext.timeline.load_balancer_events import CustomersView, EntryView

WAY = Member(cluster="way", addresses=("a:1", "b:1"), healthy=2)
OUT = replace(WAY, healthy=0)


def kinds(view, *looks):
    return [note.kind for look in looks for note in view.take([look])]


def seconds(*failed, ok=20):
    return [
        Second(t_s=float(at + 1), ok=ok, failed=each, served_by={}, slowest_s=0.0)
        for at, each in enumerate(failed)
    ]


def news(*failed, ok=20):
    view = CustomersView("e")
    return [(t_s, note.kind) for second in seconds(*failed, ok=ok) for t_s, note in view.take(second)]


def test_a_cluster_is_drained_and_taken_back_once_each():
    assert kinds(EntryView("e"), WAY, OUT, OUT, WAY, WAY) == [Kind.ENTRY_DRAINED, Kind.ENTRY_TAKEN_BACK]


def test_a_drain_of_a_cluster_that_its_check_took_out_is_no_news():
    assert kinds(EntryView("e"), OUT, replace(OUT, drained=True)) == [Kind.ENTRY_DRAINED]


def test_a_cluster_half_of_whose_addresses_pass_still_serves():
    assert kinds(EntryView("e"), WAY, replace(WAY, healthy=1)) == []


def test_an_outage_is_dated_from_its_first_failure_to_the_first_of_three_calm_seconds():
    assert news(0, 3, 0, 0, 2, 0, 0, 0, 0) == [(1.0, Kind.ENTRY_DEGRADED), (5.0, Kind.ENTRY_RESTORED)]


def test_seconds_without_any_request_end_no_outage():
    assert news(1, 0, 0, 0, 0, ok=0) == [(0.0, Kind.ENTRY_DEGRADED)]
