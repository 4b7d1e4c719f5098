"""Two runs in one page: as strict as a run's own, and nothing is drawn as good that nobody saw."""

from __future__ import annotations

from dataclasses import replace

import pytest
from runs import RUNS
from test_page import HOSTILE, read

from chaosext.model.result import Lane
from chaosext.report.data.run_comparison import compare
from chaosext.report.render.html.comparison_page import render_comparison

WHOLE = RUNS["deviated-rollback-verified"]


@pytest.mark.parametrize("story", RUNS)
def test_the_page_is_well_formed_and_refers_to_nothing_outside(story: str) -> None:
    reader = read(render_comparison(compare(WHOLE, RUNS[story])))
    assert len(reader.ids) == len(set(reader.ids))
    assert set(reader.references) <= set(reader.ids)
    assert reader.levels[0] == 1
    assert reader.links == ["data:,"]


def test_text_from_outside_stays_text() -> None:
    outages = {Lane.DNS: {f"Node/{HOSTILE}": ((1.0, 9.0),)}}
    hostile = replace(WHOLE, result=replace(WHOLE.result, run=HOSTILE, experiment=HOSTILE, outages=outages))
    html = render_comparison(compare(WHOLE, hostile))
    read(html)
    assert "alert(1)" in html
    assert "<script>alert" not in html
    assert "<img" not in html


def test_after_a_run_was_over_nobody_looked() -> None:
    html = render_comparison(compare(WHOLE, RUNS["deviated-rollback-not-verified"]))
    dns = html.partition('aria-label="DNS"')[2].partition("</section>")[0]
    assert dns.count(": not observed, 1m37.5s to 3m14.2s</title>") == 3
    assert "not back any more" in dns


def test_a_thousand_outages_stay_readable() -> None:
    outages = {Lane.DNS: {f"Node/worker-{n}": ((1.0, 9.0 + n),) for n in range(1000)}}
    html = render_comparison(
        compare(RUNS["passed"], replace(WHOLE, result=replace(WHOLE.result, outages=outages)))
    )
    assert "and 802 more that changed" in html
    assert len(html) < 1_000_000
