"""What Prometheus is told: in its own format, from a real file or over real HTTP, and never that unknown is well."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from chaosext.model.errors import Refused
from chaosext.model.redact import hide
from chaosext.model.result import Briefing, Lane
from chaosext.model.timeline import Event, Kind
from chaosext.model.verdict import Outcome, Verdict
from chaosext.run.monitor import metrics
from chaosext.run.monitor.metrics import open_metrics
from chaosext.run.monitor.progress import Picture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chaosext.run.monitor.metrics import Exporter

Samples = dict[tuple[str, str], float]

DEAD = Event(t_s=30.0, kind=Kind.DNS_DEAD, object="Node/worker-1", detail="timed out", source="sentinel")
PICTURE = Picture(
    run="20261123t230300ab12",
    experiment='the "night"\n',
    now_s=50.0,
    in_force=True,
    ttl_s=70.0,
    let_go_s=20.0,
    ready={"cp-1": True, "worker-1": True, "worker-2": False},
    heard_s={"cp-1": 0.5, "worker-1": 0.5, "worker-2": 20.0},
    api_server_heard_s=2.6,
    briefing=Briefing(
        context="kind-x", timings={}, outlook=(), unpeered_nodes=(), kube_dns_nodes=("worker-1",)
    ),
    events=(DEAD, replace(DEAD, object="Node/worker-2")),
    outages={
        Lane.DNS: {"Node/worker-1": ((5.0, 10.0), (30.0, None)), "Node/worker-2": ((8.0, 40.0),)},
        Lane.XDS: {f"Pod/shop/cart-{number}": ((40.0, None),) for number in range(300)},
    },
    unobserved={"worker-2": ((1.0, 4.0),)},
)


@dataclass
class Scene:
    """What is exported takes its pictures here."""

    current: Picture = PICTURE

    def picture(self) -> Picture:
        return self.current


def parsed(text: str) -> Samples:
    """(name, value of its label) -> value."""
    return {
        (sample.name, ",".join(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def exporters() -> Iterator[list[Exporter]]:
    opened: list[Exporter] = []
    yield opened
    for each in opened:
        each.close()


@pytest.fixture
def scraped(scene: Scene, exporters: list[Exporter]) -> Any:
    """Scrape the run as `picture` shows it."""
    exporter = open_metrics("0")
    exporters.append(exporter)
    exporter.follow(scene)  # type: ignore[arg-type]

    def scrape(**more: Any) -> Samples:
        scene.current = replace(PICTURE, **more)
        with urlopen(exporter.where, timeout=5) as answer:  # noqa: S310
            return parsed(answer.read().decode())

    return scrape


def test_a_scrape_tells_how_the_run_stands(scraped: Any) -> None:
    found = scraped()
    assert found["chaosext_run_info", 'kind-x,the "night"\\n,20261123t230300ab12'] == 1
    assert (found["chaosext_cut_in_force", ""], found["chaosext_cut_ttl_seconds", ""]) == (1, 70)
    assert found["chaosext_cut_let_go_seconds", ""] == 20
    assert (found["chaosext_dns_up", "cp-1"], found["chaosext_dns_up", "worker-1"]) == (1, 0)
    assert found["chaosext_dns_outage_seconds", "worker-1"] == 25
    assert found["chaosext_outage_seconds", "dns"] == 45  # from 5 to 50, whoever it was
    assert (found["chaosext_out", "dns"], found["chaosext_out", "xds"]) == (1, 300)
    assert (found["chaosext_xds_synced", ""], found["chaosext_run_over", ""]) == (0, 0)
    assert found["chaosext_events_total", "dns_dead"] == 2
    assert found["chaosext_events_total", "heal"] == 0
    assert not any(name.startswith(("chaosext_verdict", "chaosext_exit_code")) for name, _ in found)


def test_what_nobody_observes_is_absent_and_never_up(scraped: Any) -> None:
    found = scraped()
    assert found["chaosext_observed", "worker-2"] == 0
    assert ("chaosext_dns_up", "worker-2") not in found
    assert found["chaosext_unobserved_seconds", "worker-2"] == 3 + 20
    blind = scraped(heard_s={}, outages={})
    assert not any(name in ("chaosext_dns_up", "chaosext_xds_synced") for name, _ in blind)
    assert {label for name, label in blind if name == "chaosext_out"} == {"node_ready", "probes"}


def test_what_is_looked_at_and_can_not_be_measured_is_absent_too(scraped: Any) -> None:
    everybody = {"heard_s": dict.fromkeys(PICTURE.heard_s, 0.5), "outages": {}}
    assert (found := scraped(**everybody))["chaosext_xds_synced", ""] == 1
    assert found["chaosext_dns_up", "cp-1"] == 1
    blanks = {Lane.DNS: {"Node/cp-1": ((9.0, None),)}, Lane.XDS: {"Pod/shop/cart-1": ((9.0, None),)}}
    found = scraped(**everybody, unmeasured=blanks)
    assert not {("chaosext_xds_synced", ""), ("chaosext_dns_up", "cp-1")} & found.keys()
    assert found["chaosext_dns_up", "worker-1"] == 1


def test_while_the_api_server_is_not_heard_of_no_node_is_said_to_be_ready(scraped: Any) -> None:
    found = scraped()
    assert (found["chaosext_node_ready", "worker-1"], found["chaosext_node_ready", "worker-2"]) == (1, 0)
    deaf = scraped(api_server_heard_s=8.0)
    assert not any(name == "chaosext_node_ready" for name, _ in deaf)
    assert ("chaosext_out", "node_ready") not in deaf
    assert ("chaosext_out", "dns") in deaf


def test_a_lasting_gap_is_not_observed_however_lately_a_sample_came(scraped: Any) -> None:
    found = scraped(unobserved={"cp-1": ((49.5, None),)})
    assert found["chaosext_observed", "cp-1"] == 0
    assert ("chaosext_dns_up", "cp-1") not in found


def test_before_the_cut_nothing_is_said_to_be_up(scraped: Any) -> None:
    found = scraped(now_s=None, in_force=False, ttl_s=0.0, let_go_s=0.0, events=(), outages={})
    assert found["chaosext_observed", "cp-1"] == 1
    assert found["chaosext_cut_in_force", ""] == 0
    assert not any("up" in name or "ready" in name or "outage" in name for name, _ in found)


def test_at_the_end_the_verdict_is_told_and_nobody_observes_any_more(scraped: Any) -> None:
    verdict = Verdict(outcome=Outcome.DEVIATED, reasons=(), rollback_verified=True)
    found = scraped(verdict=verdict, in_force=False)
    assert (found["chaosext_run_over", ""], found["chaosext_exit_code", ""]) == (1, 10)
    assert found["chaosext_verdict", "deviated"] == 1
    assert sum(value for (name, _), value in found.items() if name == "chaosext_verdict") == 1
    assert found["chaosext_observed", "cp-1"] == 0
    assert not any(name in ("chaosext_dns_up", "chaosext_node_ready") for name, _ in found)
    assert found["chaosext_dns_outage_seconds", "worker-1"] == 25


def test_pods_are_counted_and_no_label_is_one(scraped: Any) -> None:
    labels = {label for _, label in scraped()}
    assert not any("cart" in label for label in labels)


def test_no_secret_is_exported(scraped: Any) -> None:
    hide(["Tr0ub4dor-m"])
    assert "Tr0ub4dor-m" not in str(scraped(experiment="of Tr0ub4dor-m"))


def test_a_file_is_written_again_and_again_and_at_the_end(
    tmp_path: Path, scene: Scene, exporters: list[Exporter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "EVERY_S", 0.05)
    path = tmp_path / "chaosext.prom"
    exporter = open_metrics(str(path))
    exporters.append(exporter)
    exporter.follow(scene)  # type: ignore[arg-type]
    deadline_s = time.monotonic() + 5
    while "chaosext_cut_in_force 1.0" not in path.read_text():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    scene.current = replace(PICTURE, in_force=False)
    assert exporter.close() == ""
    assert parsed(path.read_text())["chaosext_cut_in_force", ""] == 0
    assert [each.name for each in tmp_path.iterdir()] == ["chaosext.prom"]


def test_nobody_ever_reads_half_a_file(
    tmp_path: Path, scene: Scene, exporters: list[Exporter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "EVERY_S", 0.001)
    path = tmp_path / "chaosext.prom"
    exporter = open_metrics(str(path))
    exporters.append(exporter)
    exporter.follow(scene)  # type: ignore[arg-type]
    deadline_s = time.monotonic() + 0.5
    while time.monotonic() < deadline_s:
        text = path.read_text()
        assert not text or ("chaosext_events_total", "lock_lost") in parsed(text)


def test_what_could_not_be_written_at_the_end_is_said(tmp_path: Path, scene: Scene) -> None:
    exporter = open_metrics(str(tmp_path / "there" / "..") + "/chaosext.prom")
    (tmp_path / "chaosext.prom").unlink()
    (tmp_path / "chaosext.prom").mkdir()
    exporter.follow(scene)  # type: ignore[arg-type]
    assert exporter.close() == f"--metrics {tmp_path}/chaosext.prom: is a directory, and would be replaced"


def test_a_disk_that_hangs_holds_up_no_end(
    tmp_path: Path, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = open_metrics(str(tmp_path / "chaosext.prom"))
    hangs = threading.Event()
    monkeypatch.setattr(metrics, "write_whole", lambda *_, **__: hangs.wait(10))
    monkeypatch.setattr(metrics, "PARTING_S", 0.1)
    exporter.follow(scene)  # type: ignore[arg-type]
    began_s = time.monotonic()
    assert exporter.close().endswith("not written in time")
    assert time.monotonic() - began_s < 2
    hangs.set()


@pytest.mark.parametrize(
    "place",
    [
        "",
        "/dev/null",
        "/",
        "nowhere/there/is/chaosext.prom",
        "70000",
        "999999999",
        "192.0.2.1:9464",
        "no host:1",
    ],
)
def test_what_can_not_be_had_is_refused_with_a_fix(place: str) -> None:
    with pytest.raises(Refused, match="--metrics") as refused:
        open_metrics(place)
    assert refused.value.fix


def test_a_port_that_is_taken_is_refused(exporters: list[Exporter]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Refused, match=f"--metrics 127.0.0.1:{port}: Address already in use"):
            open_metrics(str(port))


def test_a_port_is_heard_on_loopback_only_unless_a_host_is_named(exporters: list[Exporter]) -> None:
    exporters += [open_metrics("0"), open_metrics("127.0.0.2:0"), open_metrics("[::1]:0")]
    assert [each.where.rpartition(":")[0] for each in exporters] == [
        "http://127.0.0.1",
        "http://127.0.0.2",
        "http://[::1]",
    ]
    port = exporters[0].where.rpartition(":")[2]
    with pytest.raises(URLError):
        urlopen(f"http://127.0.0.3:{port}", timeout=2)
