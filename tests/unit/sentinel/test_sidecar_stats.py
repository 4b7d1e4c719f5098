"""A sidecar is synced only when its Envoy's stream carries something and its node reaches istiod.

The numbers are those of Istio 1.31 on the testbed, seen while istiod was scaled to 0 and back, while its packets were
dropped in silence, and while its name could not be resolved.
"""

from __future__ import annotations

import pytest

from chaosext.model.signal import Mark
from chaosext.sentinel.sidecar_stats import Stats, Streams, parse_stats, synced

ANSWER = b"""HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n1a2\r
# TYPE envoy_cluster_upstream_cx_rx_bytes_total counter
envoy_cluster_upstream_cx_rx_bytes_total{cluster_name="xds-grpc"} 227408
# TYPE envoy_cluster_upstream_rq_total counter
envoy_cluster_upstream_rq_total{cluster_name="xds-grpc"} 21
# TYPE envoy_cluster_upstream_rq_active gauge
envoy_cluster_upstream_rq_active{cluster_name="xds-grpc"} 1
\r\n0\r\n\r\n"""


def seen(*looks: tuple[int, int, int]) -> str:
    """The marks of successive looks: bytes received, streams opened, streams active."""
    streams = Streams()
    return "".join(
        streams.judge("Pod/shop/cart", Stats(received=received, opened=opened, active=active))
        for received, opened, active in looks
    )


def test_envoys_statistics_are_read_and_anything_else_is_not() -> None:
    assert parse_stats(ANSWER) == Stats(active=1, opened=21, received=227408)
    assert parse_stats(b"HTTP/1.1 503 Service Unavailable\r\n\r\n") is None
    assert parse_stats(ANSWER.replace(b"xds-grpc", b"outbound|80")) is None
    assert parse_stats(ANSWER.replace(b"227408", b"9" * 5000)) is None


def test_a_stream_that_was_there_at_the_first_look_is_believed() -> None:
    assert seen((227408, 21, 1), (227425, 21, 1)) == "++"


def test_istiod_scaled_to_0_and_back() -> None:
    """Envoy's stream ends only at its agent, which takes up new ones for 20 s each, and they bring nothing."""
    assert seen(
        (227408, 21, 1), (227408, 21, 0), (227622, 22, 1), (227868, 23, 1), (227868, 23, 0), (265009, 24, 1)
    ) == "+---" + "-+"  # fmt: skip


def test_a_stream_opened_while_istiod_was_away_is_good_once_something_comes_over_it() -> None:
    assert (
        seen((227408, 21, 1), (227622, 22, 1), (227868, 23, 1), (227868, 23, 1), (264754, 23, 1)) == "+---+"
    )


def test_with_dns_dead_a_stream_after_the_other_carries_nothing() -> None:
    assert seen(
        (264771, 23, 1), (264895, 23, 0), (265009, 24, 1), (265150, 24, 0), (265264, 25, 1), (302465, 26, 1)
    ) == "+----+"  # fmt: skip


def test_an_envoy_that_started_anew_is_looked_at_anew() -> None:
    assert seen((227408, 21, 1), (0, 0, 0), (114, 1, 1), (37000, 1, 1)) == "+--+"
    assert seen((227408, 21, 1), (37000, 21, 1)) == "++"


def test_each_pod_has_its_own_stream() -> None:
    streams = Streams()
    streams.judge("Pod/shop/a", Stats(received=227408, opened=21, active=1))
    assert streams.judge("Pod/shop/b", Stats(received=300, opened=22, active=1)) is Mark.DOWN


@pytest.mark.parametrize(
    ("own", "istiod", "mark"),
    [
        ("+", "+", "+"),
        ("-", "+", "-"),
        ("?", "+", "?"),
        ("+", "t", "-"),
        ("+", "r", "-"),
        ("+", "n", "-"),
        ("?", "t", "-"),
        ("+", "?", "?"),
        ("-", "?", "-"),
        ("?", "?", "?"),
    ],
)
def test_without_istiod_nobody_is_synced_whatever_envoy_believes(own: str, istiod: str, mark: str) -> None:
    assert synced(Mark(own), Mark(istiod)) is Mark(mark)
