"""Stop conditions by PromQL against a real Prometheus, which watches itself. Skipped where none is installed."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
import urllib3
from crash_run import Run
from crash_stage import act, experiment

from chaosext.run.stop.condition_state import ConditionReply, Says
from chaosext.run.stop.prometheus import Query

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROMETHEUS = shutil.which("prometheus")
UP_WITHIN_S = 60

ASKED = 'prometheus_http_requests_total{handler="/-/ready"} > 0'

pytestmark = pytest.mark.skipif(not PROMETHEUS, reason="no prometheus here: apt-get install prometheus")

SELF = """
global: {scrape_interval: 1s}
scrape_configs:
  - job_name: itself
    static_configs: [{targets: ["%s"]}]
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus that has scraped itself once."""
    directory = tmp_path_factory.mktemp("prometheus")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (directory / "prometheus.yml").write_text(SELF % address)
    command = [
        str(PROMETHEUS),
        f"--config.file={directory}/prometheus.yml",
        f"--storage.tsdb.path={directory}/data",
        f"--web.listen-address={address}",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_until_scraped(f"http://{address}")
            yield f"http://{address}"
        finally:
            server.kill()


def wait_until_scraped(url: str) -> None:
    deadline_s = time.monotonic() + UP_WITHIN_S
    while asked(url, "up == 1").says is not Says.TRUE:
        assert time.monotonic() < deadline_s, asked(url, "up == 1")
        time.sleep(0.2)


def asked(url: str, promql: str) -> ConditionReply:
    return Query(promql=promql, url=url, timeout_s=5).ask()


@pytest.mark.parametrize(
    ("promql", "says", "detail"),
    [
        ("up == 1", Says.TRUE, 'up{instance="127.0.0.1:'),
        ("up == 0", Says.FALSE, "it yields nothing"),
        ("no_such_metric > 0", Says.FALSE, "it yields nothing"),
        ("up ==", Says.UNKNOWN, "bad_data: invalid parameter"),
        ("1", Says.UNKNOWN, "it yields a scalar"),
        ("up[1m]", Says.UNKNOWN, "it yields a matrix"),
        ("'up'", Says.UNKNOWN, "it yields a string"),
    ],
)
def test_what_prometheus_answers_is_understood(url: str, promql: str, says: Says, detail: str) -> None:
    reply = asked(url, promql)
    assert (reply.says, detail in reply.detail) == (says, True), reply


def test_an_expression_that_comes_true_stops_the_run_and_the_rollbacks_are_played(
    url: str, tmp_path: Path
) -> None:
    """Prometheus counts who asks whether it is ready, and learns that of itself a second later."""
    condition = {"name": "asked", "url": url, "every_s": 1, "promql": ASKED}
    method, rollbacks = [act("snooze", word="asleep", seconds=60)], [act("mark", word="back")]
    with Run(tmp_path, experiment(method, rollbacks=rollbacks, chaosext_stop_conditions=[condition])) as run:
        run.wait_for("asleep")
        urllib3.request("GET", f"{url}/-/ready", timeout=5)
        assert run.process.wait(timeout=30) == 130
        assert run.words() == ["asleep", "back"]
        assert run.result()["stopped"]["reason"].startswith("prometheus_http_requests_total{")
