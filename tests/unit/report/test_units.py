"""Quantities as people read them: one spelling, in every output."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import RUNS
from stories import CP, CUT, ONE, STORIES, TWO, event

from chaosext.cli.output import event_line, result_lines
from chaosext.model.timeline import Kind
from chaosext.report.render.formats import FORMATS
from chaosext.report.units import duration, tenths, window
from chaosext.timeline.outages import outages

MINUS_ZERO = re.compile(r"-0(\.0+)?(?![.\d])")

EARLY = (
    event(-0.0003, Kind.CUT, f"Node/{CP}", CUT[0].detail, "chaosext"),
    event(-0.04, Kind.DNS_DEAD, f"Node/{ONE}", "10.2.112.10:53/udp timed out", f"sentinel on {ONE}"),
    event(-0.0004, Kind.DNS_DEAD, f"Node/{TWO}", "10.2.112.10:53/udp timed out", f"sentinel on {TWO}"),
    event(-0.02, Kind.PROBE_FAILING, "Pod/shop/cart", "connection refused", "kubelet"),
)
"""What a sample that began just before the cut, or a clock known to within a millisecond, makes of its time."""


@pytest.mark.parametrize("form", FORMATS)
def test_no_report_shows_minus_zero(form: str) -> None:
    data = RUNS["deviated-rollback-verified"]
    events = tuple(sorted((*EARLY, *data.result.events), key=lambda each: each.t_s))
    early = replace(data.result, events=events, outages=outages(events))
    assert not MINUS_ZERO.search(
        re.sub(r"[dx]=\"[^\"]*\"|#[-\w]+", "", FORMATS[form](replace(data, result=early)))
    )


def test_no_line_in_the_terminal_shows_minus_zero() -> None:
    lines = [*map(event_line, EARLY), *result_lines(replace(STORIES["passed"], events=EARLY), Path("run"))]
    assert not MINUS_ZERO.search("\n".join(lines))
    assert event_line(EARLY[1]).startswith("    +0.0s")


def test_no_timeline_holds_minus_zero() -> None:
    assert not MINUS_ZERO.search(
        json.dumps([each.to_json() for each in EARLY]).replace("-0.04", "").replace("-0.02", "")
    )


@given(st.floats(-1e6, 1e6))
def test_a_quantity_never_reads_minus_zero(seconds: float) -> None:
    for said in (
        tenths(seconds),
        tenths(seconds, "+"),
        duration(seconds),
        window((seconds, None)),
    ):
        assert not MINUS_ZERO.search(said)


def test_a_moment_before_the_cut_keeps_its_minus() -> None:
    assert (duration(-0.06), duration(-0.04), tenths(12.34, "+")) == ("-0.1s", "0s", "+12.3")
