"""nft in a node's network namespace, by its library: a look costs no process."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

CLONE_NEWNET = 0x40000000
JSON_OUTPUT = 1 << 4
"""NFT_CTX_OUTPUT_JSON of libnftables(3)."""

_libc = ctypes.CDLL(None, use_errno=True)
_nft = ctypes.CDLL("libnftables.so.1")
_nft.nft_ctx_new.restype = ctypes.c_void_p
for _name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
    getattr(_nft, _name).restype = ctypes.c_char_p
    getattr(_nft, _name).argtypes = (ctypes.c_void_p,)
for _name in ("nft_ctx_free", "nft_ctx_buffer_output", "nft_ctx_buffer_error"):
    getattr(_nft, _name).argtypes = (ctypes.c_void_p,)
_nft.nft_run_cmd_from_buffer.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
_nft.nft_ctx_output_set_flags.argtypes = (ctypes.c_void_p, ctypes.c_uint)


class Nftables:
    """One network namespace's rulesets. Its socket keeps the namespace alive until `close`."""

    def __init__(self, name: str) -> None:
        self._name = name
        with Path("/proc/self/ns/net").open() as home, Path("/run/netns", name).open() as node:
            _enter(node.fileno())
            try:
                self._context = _nft.nft_ctx_new(0)  # opens its socket, in this namespace for good
            finally:
                _enter(home.fileno())
        _nft.nft_ctx_buffer_output(self._context)
        _nft.nft_ctx_buffer_error(self._context)

    def run(self, text: str, *, as_json: bool = False) -> str:
        """Return the output. Raises `RuntimeError` with nft's message if it refuses."""
        _nft.nft_ctx_output_set_flags(self._context, JSON_OUTPUT if as_json else 0)
        code = _nft.nft_run_cmd_from_buffer(self._context, text.encode())
        said = [
            (read(self._context) or b"").decode()
            for read in (_nft.nft_ctx_get_output_buffer, _nft.nft_ctx_get_error_buffer)
        ]
        if code:
            raise RuntimeError(f"{self._name}: nft {text!r}: {said[1]}")
        return said[0]

    def close(self) -> None:
        _nft.nft_ctx_free(self._context)


def _enter(descriptor: int) -> None:
    """Move this thread, and no other, into the network namespace."""
    if _libc.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
