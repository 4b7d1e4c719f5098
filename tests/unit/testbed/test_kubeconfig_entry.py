"""The testbed's kubeconfig, and taking its context out of the user's."""

import yaml

from chaosext.testbed import kubeconfig_entry

ADMIN_CONF = """
apiVersion: v1
kind: Config
clusters: [{name: bed, cluster: {server: "https://bed-control-plane:6443", certificate-authority-data: Q0E=}}]
users: [{name: kubernetes-admin, user: {client-certificate-data: Q0VSVA==, client-key-data: S0VZ}}]
"""


def users_file(path):
    config = yaml.safe_load(
        kubeconfig_entry.standalone(ADMIN_CONF, context="kind-bed", server="https://127.0.0.1:1")
    )
    for section, part in (("clusters", "cluster"), ("contexts", "context"), ("users", "user")):
        config[section].append({"name": "prod", part: {}})
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_standalone_kubeconfig_points_to_the_given_server_and_keeps_the_credentials():
    config = yaml.safe_load(
        kubeconfig_entry.standalone(ADMIN_CONF, context="kind-bed", server="https://127.0.0.1:34567")
    )

    assert config["current-context"] == "kind-bed"
    assert config["clusters"][0]["cluster"] == {
        "server": "https://127.0.0.1:34567",
        "certificate-authority-data": "Q0E=",
    }
    assert config["users"][0]["user"]["client-key-data"] == "S0VZ"


def test_forgetting_a_context_leaves_all_others(tmp_path, monkeypatch):
    path = users_file(tmp_path / "config")
    monkeypatch.setenv("KUBECONFIG", str(path))
    assert kubeconfig_entry.has_context("kind-bed")

    kubeconfig_entry.forget_context("kind-bed")

    left = yaml.safe_load(path.read_text())
    assert [each["name"] for each in left["contexts"]] == ["prod"]
    assert left["current-context"] == ""
    assert not kubeconfig_entry.has_context("kind-bed")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_without_the_context_is_not_touched(tmp_path, monkeypatch):
    path = users_file(tmp_path / "config")
    before = path.read_text()
    monkeypatch.setenv("KUBECONFIG", str(path))

    kubeconfig_entry.forget_context("kind-other")

    assert path.read_text() == before


def test_every_file_of_kubeconfig_is_looked_at(tmp_path, monkeypatch):
    first, second = tmp_path / "absent", users_file(tmp_path / "second")
    monkeypatch.setenv("KUBECONFIG", f"{first}:{second}")

    kubeconfig_entry.forget_context("kind-bed")

    assert not first.exists()
    assert not kubeconfig_entry.has_context("kind-bed")


def test_a_symbolic_link_stays_one(tmp_path, monkeypatch):
    real = users_file(tmp_path / "real")
    link = tmp_path / "config"
    link.symlink_to(real)
    monkeypatch.setenv("KUBECONFIG", str(link))

    kubeconfig_entry.forget_context("kind-bed")

    assert link.is_symlink()
    assert "kind-bed" not in real.read_text()


def test_taking_a_context_away_keeps_the_current_one_of_others():
    config = {"current-context": "prod", "contexts": [{"name": "kind-bed"}, {"name": "prod"}]}

    assert kubeconfig_entry.without_context(config, "kind-bed") == {
        "current-context": "prod",
        "contexts": [{"name": "prod"}],
    }


def test_a_context_that_was_deleted_is_gone_even_if_its_cluster_and_user_stayed(tmp_path, monkeypatch):
    path = users_file(tmp_path / "config")
    monkeypatch.setenv("KUBECONFIG", str(path))
    assert kubeconfig_entry.has_context("kind-bed")

    path.write_text(path.read_text().replace("contexts:", "was-contexts:"))

    assert not kubeconfig_entry.has_context("kind-bed")
    kubeconfig_entry.forget_context("kind-bed")
    assert [each["name"] for each in yaml.safe_load(path.read_text())["clusters"]] == ["prod"]


def test_a_context_is_led_to_another_server_and_no_other_one_is(tmp_path, monkeypatch):
    path, other = users_file(tmp_path / "config"), tmp_path / "other"
    other.write_text("clusters: [{name: prod, cluster: {server: here}}]\n")
    monkeypatch.setenv("KUBECONFIG", f"{other}:{path}")

    kubeconfig_entry.lead_to("kind-bed", "https://127.0.0.1:2")

    clusters = {each["name"]: each["cluster"] for each in yaml.safe_load(path.read_text())["clusters"]}
    assert clusters["kind-bed"] == {"server": "https://127.0.0.1:2", "certificate-authority-data": "Q0E="}
    assert clusters["prod"] == {}
    assert other.read_text() == "clusters: [{name: prod, cluster: {server: here}}]\n"
