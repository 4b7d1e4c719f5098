"""`testbed up` pins the cluster that it made, whatever the kubeconfig leads to."""

from types import SimpleNamespace

import pytest

from chaosext.model.errors import Refused
from chaosext.run import reach
from chaosext.safety.pin import Pin, read_pins, write_pin

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
        monkeypatch.setattr(reach.Cluster, "connect", lambda _context: cluster)

    return lead


def test_the_testbed_is_pinned_in_the_place_of_an_earlier_one(leads_to):
    leads_to("uid", "ca")
    write_pin(Pin(context="kind-bed", server="https://old", ca_sha256="old", kube_system_uid="old"))

    reach.pin_context("kind-bed", kube_system_uid="uid", ca_sha256="ca")

    assert read_pins() == {"kind-bed": OURS}


@pytest.mark.parametrize("found", [("other", "ca"), ("uid", "other")])
def test_a_context_that_leads_elsewhere_is_refused_and_the_pin_kept(leads_to, found):
    leads_to(*found)
    write_pin(OURS)

    with pytest.raises(Refused, match=r"another cluster, at https://127\.0\.0\.1:1") as refused:
        reach.pin_context("kind-bed", kube_system_uid="uid", ca_sha256="ca")

    assert "kubectl config delete-context kind-bed" in refused.value.fix
    assert read_pins() == {"kind-bed": OURS}
