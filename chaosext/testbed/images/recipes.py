"""What is built from Go modules, as data: commands, replacements and link-time variables."""

from __future__ import annotations

from pathlib import Path

from chaosext.testbed import versions
from chaosext.testbed.images.gobuild import GoBuild, module_replaces, module_requirements

CALICO_PATH = versions.CALICO.path
COREDNS_PLUGINS = (  # in CoreDNS' own order; those of kubeadm's Corefile, and log and whoami to look around with
    ("ready", "ready"),
    ("health", "health"),
    ("prometheus", "metrics"),
    ("errors", "errors"),
    ("log", "log"),
    ("loop", "loop"),
    ("loadbalance", "loadbalance"),
    ("cache", "cache"),
    ("kubernetes", "kubernetes"),
    ("forward", "forward"),
    ("whoami", "whoami"),
    ("reload", "reload"),
)


def kind() -> GoBuild:
    """The `kind` command."""
    return GoBuild(name="kind", module=versions.KIND, commands={versions.KIND.path: "kind"})


def helm() -> GoBuild:
    """The `helm` command."""
    return GoBuild(name="helm", module=versions.HELM, commands={f"{versions.HELM.path}/cmd/helm": "helm"})


def kubernetes() -> GoBuild:
    """Everything of Kubernetes that a cluster runs, and kubectl."""
    commands = (
        "kubeadm",
        "kubectl",
        "kube-proxy",
        "kube-scheduler",
        "kube-controller-manager",
        "kube-apiserver",
        "kubelet",
    )
    major, minor, _ = versions.KUBERNETES_VERSION.removeprefix("v").split(".")
    version = "k8s.io/component-base/version"
    return GoBuild(
        name="kubernetes",
        module=versions.KUBERNETES,
        commands={f"k8s.io/kubernetes/cmd/{command}": command for command in commands},
        replaces=_staging_replaces(),
        variables={
            f"{version}.gitVersion": versions.KUBERNETES_VERSION,
            f"{version}.gitMajor": major,
            f"{version}.gitMinor": minor,
        },
    )


def etcd() -> GoBuild:
    """The etcd server."""
    return GoBuild(name="etcd", module=versions.ETCD, commands={versions.ETCD.path: "etcd"})


def kwok() -> GoBuild:
    """KWOK's controller, which plays the kubelets of nodes that aren't there."""
    path = versions.KWOK.path
    return GoBuild(
        name="kwok",
        module=versions.KWOK,
        commands={f"{path}/cmd/kwok": "kwok"},
        replaces=module_replaces(versions.KWOK),
    )


def coredns() -> GoBuild:
    """CoreDNS with the plugins that kubeadm's Corefile names: without the cloud plugins it is a third of the size."""
    path = versions.COREDNS.path
    imports = "".join(f'\t_ "{path}/plugin/{package}"\n' for _, package in COREDNS_PLUGINS)
    directives = ", ".join(f'"{directive}"' for directive, _ in COREDNS_PLUGINS)
    main = (
        f'package main\n\nimport (\n\t"{path}/core/dnsserver"\n\t"{path}/coremain"\n{imports})\n\n'
        f"func init() {{ dnsserver.Directives = []string{{{directives}}} }}\n\nfunc main() {{ coremain.Run() }}\n"
    )
    return GoBuild(name="coredns", module=versions.COREDNS, main=main)


def calico() -> GoBuild:
    """calico-node (Felix, confd, BGP status …), the CNI plugin and its installer."""
    replaces = {
        **module_replaces(versions.CALICO),
        # The release keeps its API in a directory (`=> ./api`), which a module's zip leaves out.
        f"{versions.CALICO.path.removesuffix('/calico')}/api": (
            "github.com/projectcalico/api v0.0.0-20240708202104-e3f70b269c2c"
        ),
        # Replaced modules lose the minimum that upstream's go.sum pinned: say the versions that it builds with.
        "github.com/Microsoft/hcsshim": "github.com/Microsoft/hcsshim v0.12.9",
        "github.com/vishvananda/netlink": (
            "github.com/vishvananda/netlink v1.2.1-beta.2.0.20230206183746-70ca0345eede"
        ),
    }
    return GoBuild(
        name="calico",
        module=versions.CALICO,
        commands={
            f"{CALICO_PATH}/cni-plugin/cmd/calico": "calico",
            f"{CALICO_PATH}/cni-plugin/cmd/install": "install",
            f"{CALICO_PATH}/node/cmd/calico-node": "calico-node",
        },
        replaces=replaces,
        variables={
            "main.VERSION": versions.CALICO_VERSION,
            f"{CALICO_PATH}/node/pkg/lifecycle/startup.VERSION": versions.CALICO_VERSION,
            f"{CALICO_PATH}/node/buildinfo.GitVersion": versions.CALICO_VERSION,
        },
    )


def istio() -> GoBuild:
    """istiod (pilot-discovery) and the sidecar's agent, with the build tags of Istio's own Makefile."""
    path = f"{versions.ISTIO.path}/pilot/cmd"
    return GoBuild(
        name="istio",
        module=versions.ISTIO,
        commands={f"{path}/pilot-discovery": "pilot-discovery", f"{path}/pilot-agent": "pilot-agent"},
        replaces=module_replaces(versions.ISTIO),
        variables={"istio.io/istio/pkg/version.buildVersion": versions.ISTIO_VERSION},
        tags=("vtprotobuf", "disable_pgv"),
        language="1.26.0",
    )


def own(name: str) -> GoBuild:
    """A command of our own: `pause`, the sandbox of every Pod, or `shop`, the sample application."""
    return GoBuild(name=name, module=None, main=(Path(__file__).parent / name / "main.go").read_text())


def _staging_replaces() -> dict[str, str]:
    """k8s.io/kubernetes requires its staging modules as v0.0.0: their released twins stand in."""
    requirements = module_requirements(versions.KUBERNETES)
    return {
        path: f"{path} {versions.KUBERNETES_STAGING_VERSION}"
        for path, version in requirements.items()
        if path.startswith("k8s.io/") and version == "v0.0.0"
    }
