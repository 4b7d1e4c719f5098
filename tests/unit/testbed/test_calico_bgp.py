"""Upstream's manifest, overlaid: pure BGP, and no session for control-plane nodes."""

import yaml

from chaosext.testbed.networks import calico_bgp

UPSTREAM = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: bgppeers.crd.projectcalico.org}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: calico-kube-controllers}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: calico-kube-controllers}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: calico-config}
data: {veth_mtu: "0"}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: calico-node}
spec:
  template:
    spec:
      initContainers:
      - {name: upgrade-ipam, image: a, volumeMounts: [{name: host-local-net-dir}]}
      - {name: install-cni, image: b, volumeMounts: [{name: cni-bin-dir}]}
      - {name: mount-bpffs, image: c, volumeMounts: [{name: sys-fs}]}
      containers:
      - name: calico-node
        image: d
        env:
        - {name: CALICO_IPV4POOL_IPIP, value: Always}
        - {name: NODENAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        resources: {requests: {cpu: 250m}}
        livenessProbe: {exec: {command: [/bin/calico-node, -felix-live, -bird-live]}, periodSeconds: 10}
        volumeMounts: [{name: bpffs}, {name: lib-modules}]
      volumes: [{name: bpffs}, {name: sys-fs}, {name: nodeproc}, {name: host-local-net-dir}, {name: lib-modules},
                {name: cni-bin-dir}]
---
"""


def overlay(**options):
    return calico_bgp.calico_objects(
        UPSTREAM, pod_subnet="10.9.0.0/16", node_image="node:x", cni_image="cni:x", **options
    )


def node_pod():
    _, others = overlay()
    (daemonset,) = [each for each in others if each["kind"] == "DaemonSet"]
    return daemonset["spec"]["template"]["spec"]


def environment():
    (container,) = node_pod()["containers"]
    return {each["name"]: each.get("value") for each in container["env"]}


def test_definitions_come_apart_so_that_they_can_be_applied_first():
    definitions, others = overlay()

    assert [each["kind"] for each in definitions] == ["CustomResourceDefinition"]
    assert all(each["kind"] != "CustomResourceDefinition" for each in others)


def test_kube_controllers_are_left_out():
    _, others = overlay()

    assert {each["metadata"]["name"] for each in others} == {"calico-config", "calico-node"}


def test_no_tunnel_carries_pod_traffic_so_that_bgp_alone_decides():
    found = environment()

    assert found["CALICO_IPV4POOL_IPIP"] == "Never"
    assert found["CALICO_IPV4POOL_VXLAN"] == "Never"
    assert found["CALICO_IPV4POOL_CIDR"] == "10.9.0.0/16"
    assert found["CALICO_IPV4POOL_NAT_OUTGOING"] == "true"


def test_an_overlaid_variable_appears_once_and_others_stay():
    names = [each["name"] for each in node_pod()["containers"][0]["env"]]

    assert len(names) == len(set(names))
    assert "NODENAME" in names


def test_every_container_runs_an_image_of_ours():
    pod = node_pod()

    assert [each["image"] for each in pod["initContainers"]] == ["cni:x"]
    assert [each["image"] for each in pod["containers"]] == ["node:x"]


def test_no_mount_is_left_without_its_volume():
    pod = node_pod()
    volumes = {each["name"] for each in pod["volumes"]}
    mounts = {
        mount["name"]
        for each in (*pod["initContainers"], *pod["containers"])
        for mount in each["volumeMounts"]
    }

    assert mounts <= volumes
    assert "bpffs" not in volumes


def test_upstreams_text_is_not_changed_by_overlaying_it_twice():
    assert yaml.safe_dump(overlay()[1]) == yaml.safe_dump(overlay()[1])


def test_the_only_peering_leaves_control_plane_nodes_out():
    configuration, peer = calico_bgp.bgp_objects("172.18.0.9")

    assert configuration["spec"]["nodeToNodeMeshEnabled"] is False
    assert peer["spec"] == {
        "peerIP": "172.18.0.9",
        "asNumber": 64512,
        "nodeSelector": "!has(node-role.kubernetes.io/control-plane)",
    }


def test_calico_keeps_its_own_liveness_check():
    (container,) = node_pod()["containers"]

    assert container["livenessProbe"]["exec"]["command"][1:] == ["-felix-live", "-bird-live"]


def test_calico_is_told_where_the_api_server_is():
    endpoint = calico_bgp.api_endpoint("bed-control-plane")

    assert endpoint["metadata"] == {"name": "kubernetes-services-endpoint", "namespace": "kube-system"}
    assert endpoint["data"] == {
        "KUBERNETES_SERVICE_HOST": "bed-control-plane",
        "KUBERNETES_SERVICE_PORT": "6443",
    }


def test_vxlan_runs_without_bird_and_without_its_probe():
    configuration, daemonset = overlay(vxlan=True)[1]
    (container,) = daemonset["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each.get("value") for each in container["env"]}

    assert configuration["data"] == {"veth_mtu": "0", "calico_backend": "vxlan"}
    assert container["livenessProbe"]["exec"]["command"] == ["/bin/calico-node", "-felix-live"]
    assert environment["CALICO_IPV4POOL_VXLAN"] == "Always"
    assert environment["CALICO_IPV4POOL_IPIP"] == "Never"
