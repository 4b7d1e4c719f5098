"""What is built from Go modules, as data: commands, replacements and link-time variables."""

from __future__ import annotations

from pathlib import Path

from chaosext.testbed import versions
from chaosext.testbed.bundle import CNI_PLUGINS as CNI_PLUGIN_NAMES
from hack.images.go import GoBuild, GoModule, module_directory, module_replaces, module_requirements

KUBERNETES_STAGING_VERSION = "v0.34.4"  # k8s.io/api and its sisters are released as v0.<minor>.<patch>

KIND = GoModule(path="sigs.k8s.io/kind", version=versions.KIND_VERSION)
KUBERNETES = GoModule(path="k8s.io/kubernetes", version=versions.KUBERNETES_VERSION)
ETCD = GoModule(path="go.etcd.io/etcd/server/v3", version="v3.6.5")
COREDNS = GoModule(path="github.com/coredns/coredns", version="v1.14.3")
HELM = GoModule(path="helm.sh/helm/v3", version=versions.HELM_VERSION)
KWOK = GoModule(
    path="sigs.k8s.io/kwok", version="v0.8.0"
)  # nodes that only an API server sees, for the oracle
# v3.28.5 by commit: Go knows Calico's repository only under the tags of the CNI plugin it once was.
CALICO = GoModule(
    path="github.com/projectcalico/calico", version="v1.11.0-cni-plugin.0.20250813170300-a0db560f0520"
)
FLANNEL = GoModule(path="github.com/flannel-io/flannel", version=versions.FLANNEL_VERSION)
KUBE_ROUTER = GoModule(path="github.com/cloudnativelabs/kube-router/v2", version=versions.KUBE_ROUTER_VERSION)
CNI_PLUGINS = GoModule(path="github.com/containernetworking/plugins", version=versions.CNI_PLUGINS_VERSION)
# The last version that holds flannel's CNI plugin; its present home is not on the module proxy.
OLD_CNI_PLUGINS = GoModule(path=CNI_PLUGINS.path, version="v0.9.1")
CNI = GoModule(path="github.com/containernetworking/cni", version="v1.2.0")
ISTIO = GoModule(path="istio.io/istio", version="v0.0.0-20260827124520-eed52ebb66ad")

COREDNS_PLUGINS = (  # in CoreDNS' own order; those of kubeadm's Corefile and of the node-local cache, log and whoami
    ("bind", "bind"),
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
    return GoBuild(name="kind", module=KIND, commands={KIND.path: "kind"})


def helm() -> GoBuild:
    """The `helm` command."""
    return GoBuild(name="helm", module=HELM, commands={f"{HELM.path}/cmd/helm": "helm"})


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
        module=KUBERNETES,
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
    return GoBuild(name="etcd", module=ETCD, commands={ETCD.path: "etcd"})


def kwok() -> GoBuild:
    """KWOK's controller, which plays the kubelets of nodes that aren't there."""
    path = KWOK.path
    return GoBuild(
        name="kwok",
        module=KWOK,
        commands={f"{path}/cmd/kwok": "kwok"},
        replaces=module_replaces(KWOK),
    )


def coredns() -> GoBuild:
    """CoreDNS with the plugins of the testbed's Corefiles: without the cloud plugins it is a third of the size."""
    path = COREDNS.path
    imports = "".join(f'\t_ "{path}/plugin/{package}"\n' for _, package in COREDNS_PLUGINS)
    directives = ", ".join(f'"{directive}"' for directive, _ in COREDNS_PLUGINS)
    main = (
        f'package main\n\nimport (\n\t"{path}/core/dnsserver"\n\t"{path}/coremain"\n{imports})\n\n'
        f"func init() {{ dnsserver.Directives = []string{{{directives}}} }}\n\nfunc main() {{ coremain.Run() }}\n"
    )
    return GoBuild(name="coredns", module=COREDNS, main=main)


def calico() -> GoBuild:
    """calico-node (Felix, confd, BGP status …), the CNI plugin and its installer."""
    replaces = {
        **module_replaces(CALICO),
        # The release keeps its API in a directory (`=> ./api`), which a module's zip leaves out.
        f"{CALICO.path.removesuffix('/calico')}/api": (
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
        module=CALICO,
        commands={
            f"{CALICO.path}/cni-plugin/cmd/calico": "calico",
            f"{CALICO.path}/cni-plugin/cmd/install": "install",
            f"{CALICO.path}/node/cmd/calico-node": "calico-node",
        },
        replaces=replaces,
        variables={
            "main.VERSION": versions.CALICO_VERSION,
            f"{CALICO.path}/node/pkg/lifecycle/startup.VERSION": versions.CALICO_VERSION,
            f"{CALICO.path}/node/buildinfo.GitVersion": versions.CALICO_VERSION,
        },
    )


def istio() -> GoBuild:
    """istiod (pilot-discovery) and the sidecar's agent, with the build tags of Istio's own Makefile."""
    path = f"{ISTIO.path}/pilot/cmd"
    return GoBuild(
        name="istio",
        module=ISTIO,
        commands={f"{path}/pilot-discovery": "pilot-discovery", f"{path}/pilot-agent": "pilot-agent"},
        replaces=module_replaces(ISTIO),
        variables={"istio.io/istio/pkg/version.buildVersion": versions.ISTIO_VERSION},
        tags=("vtprotobuf", "disable_pgv"),
        language="1.26.0",
    )


def flannel() -> GoBuild:
    """flanneld, and the command that installs its CNI configuration.

    Two backends are left out: UDP's is written in C, and Tencent Cloud's needs modules that are not on the proxy.
    """
    path = FLANNEL.path
    main = (module_directory(FLANNEL) / "main.go").read_text()
    for backend in ("udp", "tencentvpc"):
        main = main.replace(f'\t_ "{path}/pkg/backend/{backend}"\n', "")
    return GoBuild(
        name="flanneld",
        module=FLANNEL,
        commands={f"{path}/cmd/install_conf": "install-conf"},
        variables={f"{path}/pkg/version.Version": FLANNEL.version},
        main=main,
        language="1.26.0",
    )


def flannel_cni() -> GoBuild:
    """flannel's CNI plugin, with a CNI library that knows the version of flannel's own configuration (1.0.0)."""
    return GoBuild(
        name="flannel-cni",
        module=OLD_CNI_PLUGINS,
        commands={f"{OLD_CNI_PLUGINS.path}/plugins/meta/flannel": "flannel"},
        replaces={CNI.path: f"{CNI.path} {CNI.version}"},
    )


def cni_plugins() -> GoBuild:
    """The CNI plugins that kind's node image lacks."""
    path = f"{CNI_PLUGINS.path}/plugins/main"
    return GoBuild(
        name="cni-plugins",
        module=CNI_PLUGINS,
        commands={f"{path}/{name}": name for name in CNI_PLUGIN_NAMES},
    )


def kube_router() -> GoBuild:
    """kube-router, and the command that shows its BGP sessions."""
    path = KUBE_ROUTER.path
    return GoBuild(
        name="kube-router",
        module=KUBE_ROUTER,
        commands={
            f"{path}/cmd/kube-router": "kube-router",
            "github.com/osrg/gobgp/v3/cmd/gobgp": "gobgp",
        },
        variables={f"{path}/pkg/version.Version": KUBE_ROUTER.version},
    )


def own(name: str) -> GoBuild:
    """A command of our own: `pause`, the sandbox of every Pod, `shop`, the sample application, or its `customers`."""
    return GoBuild(
        name=name, module=None, main=(Path(__file__).parent / "cmd" / name / "main.go").read_text()
    )


def _staging_replaces() -> dict[str, str]:
    """k8s.io/kubernetes requires its staging modules as v0.0.0: their released twins stand in."""
    requirements = module_requirements(KUBERNETES)
    return {
        path: f"{path} {KUBERNETES_STAGING_VERSION}"
        for path, version in requirements.items()
        if path.startswith("k8s.io/") and version == "v0.0.0"
    }
