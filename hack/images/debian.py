"""Small Debian trees as tar files, to stand images on: no base image has to be pulled.

A node as kind expects it, tools that some components call, the leaf router, a bare Python, the runner's base.
"""

from __future__ import annotations

import os
import shlex
import shutil
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from chaosext.model.errors import Refused
from chaosext.nodes.image_names import HOME, TOOLS
from chaosext.testbed.cache import kept, log_file
from chaosext.testbed.commands import CommandFailed, run_command
from hack.apt import install_packages, is_debian
from hack.images import recipes
from hack.images.go import module_directory
from hack.images.pypi import runner_libraries

if TYPE_CHECKING:
    from pathlib import Path

    from chaosext.testbed.stage_progress import Progress

SUITE = "bookworm"  # the last Debian with BIRD 1.6, whose configuration Calico's templates are written in
ARCHIVES = (("Debian", SUITE), ("Debian-Security", f"{SUITE}-security"))
"""Debian's archives by the `Label` of their Release files, which mirrors carry unchanged, and what we take there."""

APT_TIMEOUT_S = 300.0
BUILD_TIMEOUT_S = 1200.0
LEFT_OUT = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/share/doc/*")
LICENCES = "/usr/share/doc/*/copyright"

NODE_PACKAGES = (
    "systemd", "systemd-sysv", "containerd", "runc", "containernetworking-plugins", "conntrack", "iptables", "nftables",
    "iproute2", "ethtool", "util-linux", "mount", "kmod", "socat", "libseccomp2", "pigz", "e2fsprogs", "hostname",
    "bash", "ca-certificates", "curl", "jq", "procps",
)  # fmt: skip
TOOLS_PACKAGES = (
    "iptables", "nftables", "conntrack", "ipset", "iproute2", "kmod", "procps", "bird", "runit",
    "ca-certificates", "curl",
)  # fmt: skip
PYTHON_PACKAGES = ("python3.11-minimal", "libpython3.11-stdlib")
RUNNER_PACKAGES = (*TOOLS, "ca-certificates", "python3")
LEAF_PACKAGES = ("frr", "iproute2", "iptables", "nftables", "procps", "tcpdump")

# What kind's Dockerfile (images/base/Dockerfile in its module) does to a Debian tree, in its order. Beyond it:
# Debian's containerd, runc and CNI plugins where kind's own builds are expected, no fuse-overlayfs, and containers that
# may not lower their OOM score, which takes CAP_SYS_RESOURCE.
NODE_SETUP = r"""
cp -r --no-preserve=mode,ownership {files}/. "$1/"
chmod 0755 "$1"/usr/local/bin/* "$1"/kind/bin/*
rm "$1/etc/systemd/system/containerd-fuse-overlayfs.service"
sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' "$1/etc/containerd/config.toml"
chroot "$1" sh -eu <<'INSIDE'
find /lib/systemd/system/sysinit.target.wants/ -name systemd-tmpfiles-setup.service -delete
rm -f /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/*
rm -f /lib/systemd/system/local-fs.target.wants/* /lib/systemd/system/basic.target.wants/*
rm -f /lib/systemd/system/sockets.target.wants/*udev* /lib/systemd/system/sockets.target.wants/*initctl*
echo ReadKMsg=no >> /etc/systemd/journald.conf
ln -s /usr/bin/containerd /usr/bin/containerd-shim-runc-v2 /usr/bin/ctr /usr/local/bin/
ln -s /usr/sbin/runc /usr/local/sbin/runc
systemctl enable kubelet.service containerd.service undo-mount-hacks.service
systemctl mask systemd-binfmt.service
mkdir -p /etc/kubernetes/manifests /kind/manifests /opt/cni/bin
for plugin in host-local loopback ptp portmap bandwidth; do cp "/usr/lib/cni/$plugin" /opt/cni/bin/; done
ctr oci spec | jq '.hooks.createContainer += [{{"path": "/kind/bin/mount-product-files.sh"}}] | del(.process.rlimits)' \
  > /etc/containerd/cri-base.json
INSIDE
rm -rf "$1"/usr/lib/cni
"""

# frr-docker's own start script (docker/debian/docker-start in FRR's sources): run what /etc/frr/daemons asks for.
LEAF_SETUP = r"""
cat > "$1/usr/lib/frr/docker-start" <<'SCRIPT'
#!/bin/bash
install -d -o frr -g frr /run/frr
source /usr/lib/frr/frrcommon.sh
exec /usr/lib/frr/watchfrr $(daemon_list)
SCRIPT
chmod 0755 "$1/usr/lib/frr/docker-start"
sed -i 's/^bgpd=no/bgpd=yes/' "$1/etc/frr/daemons"
"""

# calico-node's liveness check calls /usr/bin/birdcl, BIRD's client without readline: Debian has the one with it only.
# Debian's runit makes /etc/service a link, where calico-node wants a directory.
TOOLS_SETUP = r"""
ln -s ../sbin/bird ../sbin/bird6 "$1/usr/bin/"
ln -s ../sbin/birdc "$1/usr/bin/birdcl"
ln -s ../sbin/birdc6 "$1/usr/bin/birdcl6"
rm "$1/etc/service"
"""

# No shell and no tools: a sentinel has no use for them. Compiled here, as its file system is read-only there.
PYTHON_SETUP = r"""
ln -s python3.11 "$1/usr/bin/python3"
find "$1/bin" "$1/sbin" "$1/usr/bin" "$1/usr/sbin" -mindepth 1 ! -name 'python3*' -delete
rm -rf "$1"/usr/lib/*/gconv
cd "$1/usr/lib/python3.11"
rm -rf ensurepip idlelib lib2to3 pydoc_data test turtle.py unittest
chroot "$1" /usr/bin/python3 -m compileall -q --invalidation-mode unchecked-hash /usr/lib/python3.11
"""

# Compiled here, as the file system of a Pod is read-only; what Debian's Python has is compiled by Debian. Nobody calls
# Perl, which comes with usrmerge, nor the twin of the Kubernetes client for asyncio: a third of the size.
RUNNER_SETUP = """
mkdir -p "$1/{home}"
cp -r {libraries}/. "$1/{home}"
rm -rf "$1/{home}/kubernetes/aio"
chroot "$1" python3 -m compileall -q --invalidation-mode unchecked-hash /{home}
rm -rf "$1"/usr/share/perl "$1"/usr/lib/*/perl "$1"/usr/lib/*/libperl.so* "$1"/usr/lib/*/gconv
rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/*
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RootFs:
    """A Debian tree: `packages` over the minimal set, then `setup`, a shell script with the tree's path as $1.

    A `bare` one is `packages` and what they depend on alone, unpacked: their own scripts are not run.
    """

    name: str
    packages: tuple[str, ...]
    setup: str = ""
    bare: bool = False

    @property
    def inputs(self) -> object:
        """Everything that decides what comes out, but for Debian's own point releases."""
        return [debian_sources(), self.packages, self.setup, LEFT_OUT, *(["bare"] if self.bare else [])]


def node_tree() -> RootFs:
    """A kind node without Kubernetes."""
    files = module_directory(recipes.KIND) / "images/base/files"
    return RootFs(name="node", packages=NODE_PACKAGES, setup=NODE_SETUP.format(files=shlex.quote(str(files))))


def tools_tree() -> RootFs:
    """What kube-proxy, calico-node and the sidecar call, and a shell for etcd's probes."""
    return RootFs(name="tools", packages=TOOLS_PACKAGES, setup=TOOLS_SETUP)


def leaf_tree() -> RootFs:
    """The BGP switch: FRR."""
    return RootFs(name="leaf", packages=LEAF_PACKAGES, setup=LEAF_SETUP)


def python_tree() -> RootFs:
    """What a sentinel runs on: Python, its standard library, and nothing else."""
    return RootFs(name="python", packages=PYTHON_PACKAGES, setup=PYTHON_SETUP, bare=True)


def runner_tree() -> RootFs:
    """What runner and node Pods stand on: `RUNNER_PACKAGES`, and the libraries of requirements.lock in `HOME`."""
    setup = RUNNER_SETUP.format(libraries=shlex.quote(str(runner_libraries())), home=HOME)
    return RootFs(name="runner", packages=RUNNER_PACKAGES, setup=setup)


@cache
def debian_sources() -> tuple[str, ...]:
    """Sources of our suite, in apt's one-line style, at the mirrors that this machine's own apt uses.

    () where it uses none of Debian's, as on Ubuntu: mmdebstrap then has its own default.
    """
    if shutil.which("apt-get") is None:
        return ()
    listed = _listed_archives()
    if not listed and os.geteuid() == 0:  # apt tells only what it has downloaded lists of
        with suppress(CommandFailed):
            run_command(["apt-get", "update", "-qq"], timeout_s=APT_TIMEOUT_S)
        listed = _listed_archives()
    return sources_at(listed)


def _listed_archives() -> str:
    columns = "$(LABEL)|$(COMPONENT)|$(REPO_URI)"
    argv = ["apt-get", "indextargets", "--format", columns, "Created-By: Packages"]
    return run_command(argv, timeout_s=APT_TIMEOUT_S).stdout


def sources_at(listed: str) -> tuple[str, ...]:
    """Sources at the first mirror of each archive in lines of `LABEL|COMPONENT|URI`. Pure."""
    mirrors: dict[str, str] = {}
    for line in listed.splitlines():
        label, component, uri = line.split("|", 2)
        if component == "main":
            mirrors.setdefault(label, uri.rstrip("/"))
    return tuple(f"deb {mirrors[label]} {suite} main" for label, suite in ARCHIVES if label in mirrors)


def ensure_rootfs(rootfs: RootFs, progress: Progress) -> Path:
    """The tar file of `rootfs`, made now unless it is kept from before.

    Raises `Refused` when not root or not on Debian, `CommandFailed` when a package can't be had.
    """

    def build(target: Path) -> None:
        refuse_unless_buildable()
        _assemble(rootfs, target)

    tree = kept(
        f"rootfs-{rootfs.name}",
        rootfs.inputs,
        build,
        lambda: progress.stage(f"Assemble the {rootfs.name} tree from Debian's packages"),
    )
    return tree / "rootfs.tar"


def refuse_unless_buildable() -> None:
    """Raise `Refused` unless Debian trees can be made here, installing mmdebstrap when that is all there is to do."""
    fix = "run this as root on Debian or Ubuntu, or build `--profile tools`, which holds no images"
    if os.geteuid() != 0:
        raise Refused("building images from Debian's packages needs root", fix)
    if shutil.which("mmdebstrap"):
        return
    if not is_debian():
        raise Refused("building images needs mmdebstrap and Debian's packages", fix)
    install_packages(("mmdebstrap", "debian-archive-keyring"))


def _assemble(rootfs: RootFs, target: Path) -> None:
    script = target / "setup.sh"
    script.write_text(f'set -eu\numask 022\n{rootfs.setup}\nrm -f "$1/etc/resolv.conf" "$1/etc/hostname"\n')
    options = [f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT]
    variant, hook = ("extract", "extract") if rootfs.bare else ("minbase", "customize")
    argv: list[str | Path] = [
        "mmdebstrap", "--mode=root", f"--variant={variant}", "--format=tar", *options,
        f"--dpkgopt=path-include={LICENCES}", "--dpkgopt=force-unsafe-io",
        '--aptopt=APT::Install-Recommends "false"', f"--include={','.join(rootfs.packages)}",
        f'--{hook}-hook=sh {script} "$1"', SUITE, target / "rootfs.tar", *debian_sources(),
    ]  # fmt: skip
    # Its working directory inside ours: what an interrupted run leaves goes with the next attempt.
    log = log_file(f"rootfs-{rootfs.name}")
    run_command(argv, timeout_s=BUILD_TIMEOUT_S, env={"TMPDIR": str(target)}, log=log)
    script.unlink()
