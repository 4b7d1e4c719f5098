"""What tests of the testbed's networks ask of the testbed that is up; they skip where it has another network."""

import json
import os
import subprocess
import sys

import pytest

NAME = os.environ.get("CHAOSEXT_TESTBED", "chaosext")


def command(*words):
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def docker(container, *words):
    return command("docker", "exec", container, *words).stdout


def kubectl(*words):
    return docker(f"{NAME}-control-plane", "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", *words)


def status_of(networks):
    """Return the testbed's status; skip without a testbed of one of these networks."""
    shown = command(sys.executable, "-m", "chaosext", "testbed", "status", f"--name={NAME}", "--json")
    if shown.returncode not in (0, 10):
        pytest.skip(f"no testbed {NAME} (chaosext testbed up): {shown.stderr.strip()}")
    found = json.loads(shown.stdout)
    if found["record"].get("network") not in networks:
        pytest.skip(f"testbed {NAME} has none of {', '.join(networks)}")
    return found


def workers_of(status):
    return [node["name"] for node in status["nodes"] if node["role"] == "worker"]


def pod_on(node):
    """Return the address of a Pod on a node."""
    pods = json.loads(kubectl("get", "pods", "-A", f"--field-selector=spec.nodeName={node}", "-ojson"))
    return next(
        each["status"]["podIP"]
        for each in pods["items"]
        if not each["spec"].get("hostNetwork") and each["status"].get("podIP")
    )


def way(node, address):
    """Return the next hop (or None) and the device on the way from a node to an address."""
    (found,) = json.loads(docker(node, "ip", "-json", "route", "get", address))
    return found.get("gateway"), found["dev"]
