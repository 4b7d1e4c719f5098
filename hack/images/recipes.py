"""What is built from Go modules, as data: commands, replacements and link-time variables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from chaosext.testbed import versions
from chaosext.testbed.bundle import CNI_PLUGINS as CNI_PLUGIN_NAMES
from chaosext.testbed.kubernetes_releases import minor_of
from hack.images.go import (
    LANGUAGE,
    GoBuild,
    GoModule,
    module_directory,
    module_language,
    module_replaces,
    module_requirements,
    parse_version,
)

KIND = GoModule(path="sigs.k8s.io/kind", version=versions.KIND_VERSION)
ETCD = "go.etcd.io/etcd/server/v3"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeadmTags:
    """Tags of the images that kubeadm asks for, next to its own version's."""

    etcd: str
    coredns: str
    pause: str

    @property
    def etcd_version(self) -> str:
        """The version of etcd in that image: "v3.6.5" of "3.6.5-0"."""
        return f"v{self.etcd.partition('-')[0]}"


def kubernetes_module(version: str) -> GoModule:
    """Kubernetes' own module."""
    return GoModule(path="k8s.io/kubernetes", version=version)


def kubeadm_tags(version: str) -> KubeadmTags:
    """What kubeadm of that version of Kubernetes asks for, by its own source."""
    constants = module_directory(kubernetes_module(version)) / "cmd/kubeadm/app/constants/constants.go"
    return tags_in(constants.read_text(), int(minor_of(version).partition(".")[2]))


def tags_in(constants: str, minor: int) -> KubeadmTags:
    """What the text of kubeadm's constants.go asks for; etcd's is listed for each minor version of Kubernetes.

    Raises ValueError, which names what the text lacks.
    """
    _, _, supported = constants.partition("SupportedEtcdVersion = map[uint8]string{")
    by_minor = re.search(rf'^\s*{minor}:\s*"([^"]+)"', supported.partition("}")[0], re.MULTILINE)
    return KubeadmTags(
        etcd=by_minor[1] if by_minor else _constant(constants, "DefaultEtcdVersion"),
        coredns=_constant(constants, "CoreDNSVersion"),
        pause=_constant(constants, "PauseVersion"),
    )


def _constant(text: str, name: str) -> str:
    found = re.search(rf'^\s*{name} = "([^"]+)"', text, re.MULTILINE)
    if found is None:
        raise ValueError(f"kubeadm's constants.go has no {name}")
    return found[1]


def kubernetes(version: str = versions.KUBERNETES_VERSION) -> GoBuild:
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
    module = kubernetes_module(version)
    major, minor = minor_of(version).split(".")
    linked = "k8s.io/component-base/version"
    return GoBuild(
        name="kubernetes",
        module=module,
        commands={f"{module.path}/cmd/{command}": command for command in commands},
        replaces=_staging_replaces(module),
        variables={
            f"{linked}.gitVersion": version,
            f"{linked}.gitMajor": major,
            f"{linked}.gitMinor": minor,
        },
        language=max(LANGUAGE, module_language(module), key=parse_version),
    )


def etcd(kubernetes: str = versions.KUBERNETES_VERSION) -> GoBuild:
    """The etcd server that kubeadm of that version of Kubernetes asks for."""
    module = GoModule(path=ETCD, version=kubeadm_tags(kubernetes).etcd_version)
    language = max(LANGUAGE, module_language(module), key=parse_version)
    return GoBuild(name="etcd", module=module, commands={ETCD: "etcd"}, language=language)


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


def _staging_replaces(kubernetes: GoModule) -> dict[str, str]:
    """k8s.io/kubernetes requires its staging modules as v0.0.0: their twins, released as v0.MINOR.PATCH, stand in."""
    requirements = module_requirements(kubernetes)
    released = f"v0.{kubernetes.version.partition('.')[2]}"
    return {
        path: f"{path} {released}"
        for path, version in requirements.items()
        if path.startswith("k8s.io/") and version == "v0.0.0"
    }
