"""The blueprint: derived from the file and the options, refused early, told apart by its record."""

import pytest
import yaml

from chaosext.model.errors import Refused
from chaosext.testbed import config
from chaosext.testbed.bed_choices import ControlPlaneTimings, Sidecars, StoryMitigation
from chaosext.testbed.config import make_blueprint

SHIPPED = config.read_kind_config()
MINIMAL = """
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking: {disableDefaultCNI: true}
nodes: [{role: control-plane}, {role: worker, labels: {zone: a}}]
"""


def blueprint(text=SHIPPED, **options):
    return make_blueprint(config_text=text, **options)


def cluster_configuration(made):
    patches = yaml.safe_load(made.kind_yaml("v1.34.4")).get("kubeadmConfigPatches") or []
    documents = [document for text in patches for document in yaml.safe_load_all(text)]
    return [each for each in documents if each["kind"] == "ClusterConfiguration"]


def test_the_shipped_file_is_one_control_plane_two_workers_and_the_storys_dns_address():
    made = blueprint()

    assert (made.control_planes, made.workers) == (1, 2)
    assert made.service_subnet == "10.2.112.0/20"
    assert made.pod_subnet == "10.244.0.0/16"
    assert made.context == "kind-chaosext"


def test_the_shipped_files_timings_are_the_accelerated_ones():
    assert config.accelerate(config.parse_kind_config(SHIPPED)) == config.parse_kind_config(SHIPPED)


def test_accelerated_timings_are_added_to_a_file_that_says_nothing():
    made = blueprint(MINIMAL)

    assert config.timings_in_force(made.kind_config) == {
        "node-monitor-grace-period": "20s",
        "not-ready toleration": "20s",
        "unreachable toleration": "20s",
    }


def test_a_files_own_timings_stay_under_accelerated():
    text = MINIMAL + (
        "kubeadmConfigPatches:\n- |\n  kind: ClusterConfiguration\n  controllerManager:\n    extraArgs:\n"
        "      node-monitor-grace-period: 33s\n"
    )

    in_force = config.timings_in_force(blueprint(text).kind_config)

    assert in_force["node-monitor-grace-period"] == "33s"
    assert in_force["unreachable toleration"] == "20s"


def test_production_timings_leave_kubernetes_defaults_and_no_empty_patch():
    made = blueprint(timings="production")

    assert cluster_configuration(made) == []
    assert config.timings_in_force(made.kind_config) == {
        "node-monitor-grace-period": "50s",
        "not-ready toleration": "300s",
        "unreachable toleration": "300s",
    }


def test_production_timings_keep_what_else_a_patch_says():
    text = MINIMAL + (
        "kubeadmConfigPatches:\n- |\n  kind: ClusterConfiguration\n  apiServer:\n    extraArgs:\n"
        '      default-not-ready-toleration-seconds: "20"\n      v: "4"\n'
        "- |\n  kind: KubeletConfiguration\n  maxPods: 50\n"
    )

    made = blueprint(text, timings="production")

    assert cluster_configuration(made)[0]["apiServer"] == {"extraArgs": {"v": "4"}}
    assert "maxPods: 50" in made.kind_config["kubeadmConfigPatches"][1]


def test_more_workers_are_like_the_last_one_and_fewer_are_the_first_ones():
    three = config.nodes_of(blueprint(MINIMAL, workers=3).kind_config, "worker")
    one = blueprint(workers=1)

    assert three == [{"role": "worker", "labels": {"zone": "a"}}] * 3
    assert (one.control_planes, one.workers) == (1, 1)


def test_three_control_planes_are_possible():
    text = MINIMAL.replace("[{role: control-plane}", "[{role: control-plane}" + ", {role: control-plane}" * 2)

    assert blueprint(text).control_planes == 3


def test_deriving_never_changes_what_was_given():
    parsed = config.parse_kind_config(SHIPPED)
    config.slow_down(config.with_workers(parsed, 5))

    assert parsed == config.parse_kind_config(SHIPPED)


def test_mitigations_are_sorted_and_counted_once():
    made = blueprint(mitigations=["dns-affinity", "dns-affinity"])

    assert made.options.mitigations == (StoryMitigation.DNS_AFFINITY,)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"workers": 0}, "workers"),
        ({"timings": "fast"}, "timings"),
        ({"sidecars": "none"}, "sidecars"),
        ({"mitigations": ["prayer"]}, "mitigation"),
        ({"name": "Chaos_1"}, "name"),
        ({"name": "-x"}, "name"),
        ({"name": "x" * 31}, "name"),
        ({"text": "kind: Pod"}, "`kind`"),
        ({"text": "a: b: c"}, "YAML"),
        ({"text": MINIMAL.replace("v1alpha4", "v1alpha3")}, "`apiVersion`"),
        ({"text": MINIMAL.replace("true", "false")}, "disableDefaultCNI"),
        ({"text": MINIMAL.replace("role: worker", "role: control-plane")}, "worker"),
        ({"text": MINIMAL.replace("true}", "true, podSubnet: 'fd00::/48'}")}, "podSubnet"),
        ({"text": MINIMAL.replace("true}", "true, serviceSubnet: '10.0.0.1/8'}")}, "serviceSubnet"),
    ],
)
def test_bad_input_is_refused_with_its_field_and_a_fix(options, field):
    with pytest.raises(Refused) as refused:
        blueprint(**options)

    assert field in refused.value.message
    assert refused.value.fix


def test_extra_args_as_a_list_are_refused():
    patch = "kind: ClusterConfiguration\n  apiServer:\n    extraArgs: [{name: v, value: '4'}]\n"
    with pytest.raises(Refused, match="extraArgs is a list"):
        blueprint(MINIMAL + f"kubeadmConfigPatches:\n- |\n  {patch}")


def test_a_config_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(Refused, match="--config"):
        config.read_kind_config(tmp_path / "absent.yaml")


def test_the_same_blueprint_has_no_differences_and_another_names_each():
    first = blueprint().record(node_image="node:1", image_source="source")
    same = blueprint().record(node_image="node:1", image_source="source")
    other = blueprint(timings=ControlPlaneTimings.PRODUCTION, sidecars=Sidecars.CLASSIC, workers=3).record(
        node_image="node:1", image_source="source"
    )

    assert config.differences(first, same) == []
    changes = config.differences(first, other)
    assert "workers: 2 → 3" in changes
    assert "timings: accelerated → production" in changes
    assert "sidecars: native → classic" in changes


def test_a_change_inside_the_file_alone_is_a_difference():
    changed = SHIPPED.replace("10.244.0.0/16", "10.245.0.0/16")
    records = [blueprint(text).record(node_image="n", image_source="source") for text in (SHIPPED, changed)]

    (change,) = config.differences(*records)
    assert change.startswith("kind configuration: ")


def test_a_setting_that_vanished_is_a_difference():
    assert config.differences({"a": "1", "b": "2"}, {"a": "1"}) == ["b: 2 → absent"]


def patches(made, kind):
    texts = yaml.safe_load(made.kind_yaml()).get("kubeadmConfigPatches") or []
    return [each for text in texts for each in yaml.safe_load_all(text) if each["kind"] == kind]


def test_kubelets_hand_out_the_nodes_cache_only_where_there_is_one():
    cached = blueprint(dns="nodelocal")

    assert patches(cached, "KubeletConfiguration") == [
        {"kind": "KubeletConfiguration", "clusterDNS": ["169.254.20.10"]}
    ]
    assert patches(blueprint(), "KubeletConfiguration") == []


def test_paused_evictions_keep_every_other_controller():
    made = blueprint(mitigations=["pause-evictions"])
    flags = [
        each["controllerManager"]["extraArgs"]
        for each in cluster_configuration(made)
        if "controllerManager" in each
    ]

    assert flags[-1] == {"controllers": "*,bootstrapsigner,tokencleaner,-taint-eviction-controller"}
    assert config.timings_in_force(made.kind_config)["node-monitor-grace-period"] == "20s"


def test_options_that_are_not_given_are_those_of_the_existing_testbed():
    first = blueprint(timings="production", sidecars="classic", dns="nodelocal", mitigations=["spread"])
    record = first.record(node_image="n", image_source="source")
    again = blueprint(existing=record)

    assert config.differences(record, again.record(node_image="n", image_source="source")) == []


def test_the_same_number_of_workers_is_the_same_configuration():
    assert blueprint(workers=2) == blueprint()
