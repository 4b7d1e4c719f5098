"""The Debian trees: a node as kind expects it, tools that some components call, the leaf router, a bare Python."""

from __future__ import annotations

import shlex

from chaosext.testbed import versions
from chaosext.testbed.images.gobuild import module_directory
from chaosext.testbed.images.rootfs import RootFs

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


def node_tree() -> RootFs:
    """A kind node without Kubernetes."""
    files = module_directory(versions.KIND) / "images/base/files"
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
