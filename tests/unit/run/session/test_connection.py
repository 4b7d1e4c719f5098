"""Pinning, and what a pin is for: whatever acts looks again at which cluster its context leads to."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from chaosext.experiment.settings import Settings
from chaosext.model.errors import Refused
from chaosext.run.session import connection
from chaosext.safety.pins import Pin, pins_path, read_pins, write_pin

OURS = Pin(context="kind-bed", server="https://127.0.0.1:1", ca_sha256="ca", kube_system_uid="uid")


@pytest.fixture(autouse=True)
def _own_places(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@pytest.fixture
def leads_to(monkeypatch):
    """Let the kubeconfig's context lead to a cluster with this UID and CA."""

    def lead(kube_system_uid, ca_sha256):
        cluster = SimpleNamespace(
            context=OURS.context,
            server=OURS.server,
            ca_sha256=ca_sha256,
            namespace_uid=lambda _: kube_system_uid,
        )
        monkeypatch.setattr(connection.Cluster, "connect", lambda _context: cluster)

    return lead


def test_the_testbed_is_pinned_in_the_place_of_an_earlier_one(leads_to):
    leads_to("uid", "ca")
    write_pin(Pin(context="kind-bed", server="https://old", ca_sha256="old", kube_system_uid="old"))

    connection.pin_made("kind-bed", kube_system_uid="uid", ca_sha256="ca")

    assert read_pins() == {"kind-bed": OURS}


@pytest.mark.parametrize("found", [("other", "ca"), ("uid", "other")])
def test_a_context_that_leads_elsewhere_is_refused_and_the_pin_kept(leads_to, found):
    leads_to(*found)
    write_pin(OURS)

    with pytest.raises(Refused, match=r"another cluster, at https://127\.0\.0\.1:1") as refused:
        connection.pin_made("kind-bed", kube_system_uid="uid", ca_sha256="ca")

    assert "kubectl config delete-context kind-bed" in refused.value.fix
    assert read_pins() == {"kind-bed": OURS}


SETTINGS = Settings(context="kind-bed")


@pytest.fixture
def bed(monkeypatch):
    """The cluster that the context leads to now; each look of ours is a new connection."""
    now = {"server": OURS.server, "ca_sha256": OURS.ca_sha256, "uid": OURS.kube_system_uid, "connected": 0}

    def connect(context, **_):
        now["connected"] += 1
        return SimpleNamespace(
            context=context,
            server=now["server"],
            ca_sha256=now["ca_sha256"],
            namespace_uid=lambda _: now["uid"],
        )

    monkeypatch.setattr(connection.Cluster, "connect", connect)
    connection.connect.cache_clear()
    yield now
    connection.connect.cache_clear()


def test_a_context_is_pinned_once_and_the_same_again_changes_nothing(bed):
    assert connection.pin_context("kind-bed") == (OURS, True)
    written = pins_path().stat().st_mtime_ns
    assert connection.pin_context("kind-bed") == (OURS, False)
    assert pins_path().stat().st_mtime_ns == written


def test_another_cluster_under_a_pinned_context_takes_replace(bed):
    connection.pin_context("kind-bed")
    bed["uid"] = "other"
    with pytest.raises(Refused, match="kube_system_uid is other, pinned is uid") as refused:
        connection.pin_context("kind-bed")
    assert "chaosext pin --context kind-bed --replace" in refused.value.fix
    assert read_pins() == {"kind-bed": OURS}
    pinned, is_new = connection.pin_context("kind-bed", replace=True)
    assert (pinned.kube_system_uid, is_new) == ("other", True)
    assert read_pins() == {"kind-bed": pinned}


def test_an_unpinned_context_may_be_asked_and_not_acted_on(bed):
    assert connection.connect(SETTINGS).context == "kind-bed"
    with pytest.raises(Refused, match="context kind-bed is not pinned") as refused:
        connection.connect_to_act(SETTINGS)
    assert "chaosext pin --context kind-bed" in refused.value.fix


@pytest.mark.parametrize(
    ("field", "said"), [("server", "server"), ("ca_sha256", "ca_sha256"), ("uid", "kube_system_uid")]
)
def test_where_a_context_leads_is_looked_up_at_each_act(bed, field, said):
    write_pin(OURS)
    connection.connect(SETTINGS)
    assert connection.connect_to_act(SETTINGS).server == OURS.server
    before = bed["connected"]
    bed[field] = "elsewhere"
    with pytest.raises(Refused, match=f"{said} is elsewhere, pinned is"):
        connection.connect_to_act(SETTINGS)
    assert bed["connected"] == before + 1


def test_a_pinned_context_that_leads_elsewhere_may_not_even_be_asked(bed):
    write_pin(OURS)
    bed["uid"] = "elsewhere"
    with pytest.raises(Refused, match="leads to another cluster"):
        connection.connect(SETTINGS)


def test_pins_that_can_not_be_read_are_no_permission(bed):
    pins_path().parent.mkdir(parents=True)
    pins_path().write_text("{")
    with pytest.raises(Refused, match="can't be read"):
        connection.connect_to_act(SETTINGS)
    assert bed["connected"] == 0


def test_a_mark_stays_until_it_is_taken_away(bed):
    connection.pin_context("kind-bed", production=True)
    assert connection.pin_context("kind-bed") == (replace(OURS, production=True), False)
    assert connection.connect(SETTINGS).context == "kind-bed"
    assert connection.pin_context("kind-bed", production=False) == (OURS, True)
    assert read_pins() == {"kind-bed": OURS}


@pytest.mark.parametrize(
    ("pinned", "said", "why"),
    [
        (True, "", "context kind-bed is pinned as production"),
        (False, "Production", "the cluster of context kind-bed is marked chaosext/environment=production"),
        (False, "staging", ""),
        (None, "", ""),
    ],
)
def test_a_cluster_is_production_by_its_pin_or_by_its_own_mark(pinned, said, why):
    if pinned is not None:
        write_pin(replace(OURS, production=pinned))
    cluster = SimpleNamespace(context="kind-bed", environment=lambda: said)
    assert connection.why_production(cluster) == why
