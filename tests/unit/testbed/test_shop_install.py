"""What runs on the testbed: the shop, its clients, istiod's values, and kube-dns' mitigation."""

from chaosext.testbed import dns_install, istio_install, shop_install
from chaosext.testbed.bed_choices import Sidecars


def deployments(objects):
    return {each["metadata"]["name"]: each for each in objects if each["kind"] == "Deployment"}


def test_the_shops_services_call_each_other():
    found = deployments(shop_install.shop_objects(image="shop:1", workers=2))
    args = {name: each["spec"]["template"]["spec"]["containers"][0]["args"] for name, each in found.items()}

    assert "-call=http://catalog.shop:8080/" in args["storefront"]
    assert "-call=http://storefront.shop:8080/" in args["catalog"]


def test_each_service_has_more_than_one_replica_per_node_and_may_be_packed_on_one():
    for each in deployments(shop_install.shop_objects(image="shop:1", workers=2)).values():
        (spread,) = each["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert each["spec"]["replicas"] == 4
        assert spread["whenUnsatisfiable"] == "ScheduleAnyway"


def test_readiness_and_liveness_ask_the_service_alone():
    for each in deployments(shop_install.shop_objects(image="shop:1", workers=2)).values():
        (container,) = each["spec"]["template"]["spec"]["containers"]
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_no_image_is_pulled_that_the_node_has():
    objects = [
        *shop_install.shop_objects(image="shop:1", workers=2),
        *shop_install.client_objects(image="client:1", workers=2),
    ]
    for each in deployments(objects).values():
        assert each["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] == "IfNotPresent"


def test_only_the_shops_namespace_is_injected():
    objects = [
        *shop_install.shop_objects(image="shop:1", workers=2),
        *shop_install.client_objects(image="client:1", workers=2),
    ]
    spaces = {
        each["metadata"]["name"]: each["metadata"]["labels"]
        for each in objects
        if each["kind"] == "Namespace"
    }

    assert spaces == {"shop": {"istio-injection": "enabled"}, "clients": {}}


def test_there_is_a_client_for_every_worker():
    (client,) = deployments(shop_install.client_objects(image="client:1", workers=3)).values()

    assert client["spec"]["replicas"] == 3


def test_sidecars_are_native_only_when_asked_for():
    for choice, flag in ((Sidecars.CLASSIC, "false"), (Sidecars.NATIVE, "true")):
        values = istio_install.istiod_values(hub="h", tag="t", sidecars=choice)
        assert values["env"]["ENABLE_NATIVE_SIDECARS"] == flag


def test_applications_wait_for_their_proxy():
    values = istio_install.istiod_values(hub="h", tag="t", sidecars=Sidecars.CLASSIC)

    assert values["global"]["proxy"]["holdApplicationUntilProxyStarts"] is True
    assert (values["global"]["hub"], values["global"]["tag"]) == ("h", "t")


def test_sidecars_answer_lookups_only_when_asked_to():
    for captures in (True, False):
        values = istio_install.istiod_values(
            hub="h", tag="t", sidecars=Sidecars.NATIVE, captures_dns=captures
        )
        metadata = values["meshConfig"]["defaultConfig"].get("proxyMetadata", {})
        assert metadata.get("ISTIO_META_DNS_CAPTURE") == ("true" if captures else None)


def test_a_shop_without_a_mesh_is_not_injected():
    space = shop_install.shop_objects(image="shop:1", workers=2, meshed=False)[0]

    assert space["metadata"]["labels"] == {}


def test_without_mitigation_kube_dns_stays_as_kubeadm_made_it():
    assert dns_install.deployment_patch(()) is None


def test_istiods_webhook_times_out_rather_than_refuses_while_its_node_is_lost():
    probe = {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 3}
    deployment = {
        "spec": {"template": {"spec": {"containers": [{"name": "discovery", "readinessProbe": probe}]}}}
    }
    charts = [
        {"kind": "Service", "metadata": {"name": "istiod"}, "spec": {"ports": []}},
        {"kind": "Deployment", "metadata": {"name": "istiod"}, **deployment},
        {"kind": "ConfigMap", "metadata": {"name": "istio"}},
    ]

    service, istiod, other = istio_install.overlay(charts)

    assert service["spec"]["publishNotReadyAddresses"] is True
    assert istiod["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["periodSeconds"] == 1
    assert other == charts[2]
    assert "publishNotReadyAddresses" not in charts[0]["spec"]
