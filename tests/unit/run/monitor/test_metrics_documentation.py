"""docs/metrics.md tells of each metric that there is, with its labels, and of no other."""

from __future__ import annotations

import re
from dataclasses import replace

from checkout import ROOT
from test_metrics import PICTURE

from chaosext.model.result import Lane
from chaosext.model.verdict import Outcome, Verdict
from chaosext.run.monitor.metrics import families

TEXT = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
ENDED = replace(PICTURE, verdict=Verdict(outcome=Outcome.PASSED, reasons=()))


def exported() -> dict[str, set[str]]:
    return {
        sample.name: set(sample.labels)
        for picture in (PICTURE, ENDED)
        for family in families(picture)
        for sample in family.samples
    }


def test_each_metric_is_in_the_table_with_its_labels() -> None:
    rows = re.findall(r"^\| `(chaosext_\w+)` \| (.*?) \|", TEXT, re.MULTILINE)
    assert {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows} == exported()


def test_each_lane_is_named() -> None:
    assert {lane.value for lane in Lane} <= set(re.findall(r"`(\w+)`", TEXT))
