"""Keep a kubeconfig's keys and certificates, which TLS requires as files, in memory instead of on disk.

The `kubernetes` package writes inline data of a kubeconfig (`client-key-data`), and the output of a
credential plugin, to temporary files, and removes them when the process exits: a killed process leaves its
key behind.
"""

from __future__ import annotations

import os

from chaosext.model.errors import Refused

_WRITER = "_create_temp_file_with_content"
_kept: dict[bytes, int] = {}


def keep_keys_in_memory() -> None:
    """Make the `kubernetes` package keep keys in unnamed files (memfd_create(2)) from now on, for all its callers.

    Raises `Refused` for a version of the package that writes them differently.
    """
    from kubernetes.config import kube_config

    if not hasattr(kube_config, _WRITER):
        raise Refused(
            "this version of the package kubernetes would write a kubeconfig's keys to the disk",
            "install the version that requirements.lock names",
        )
    setattr(kube_config, _WRITER, in_memory)


def in_memory(content: str | bytes, *_: object, **__: object) -> str:
    """The path of a file with `content` that only this process can open, and that disappears with it."""
    data = content.encode() if isinstance(content, str) else content
    if data not in _kept:
        handle = os.memfd_create("credential", os.MFD_CLOEXEC)
        with open(os.dup(handle), "wb") as file:  # noqa: PTH123  a descriptor
            file.write(data)
        _kept[data] = handle
    return f"/proc/self/fd/{_kept[data]}"
