"""An independent witness: 20 lookups a second at one address, each from a socket of its own.

Run inside a node's network: `python3 dns_prober.py ADDRESS`. Until its stdin ends it prints a line for each lookup:
when it was sent (seconds of CLOCK_MONOTONIC), and whether an answer came within a second. Knows nothing of chaosext.
"""

from __future__ import annotations

import selectors
import socket
import struct
import sys
import time

EVERY_S, PATIENCE_S = 0.05, 1.0
NAME = b"".join(bytes([len(label)]) + label for label in b"kubernetes.default.svc.cluster.local.".split(b"."))


def main(address: str) -> None:
    waiting = selectors.DefaultSelector()
    waiting.register(sys.stdin, selectors.EVENT_READ)
    sent: dict[socket.socket, tuple[float, bytes]] = {}
    number, next_s = 0, time.monotonic()
    while True:
        for key, _ in waiting.select(max(0.0, next_s - time.monotonic())):
            if key.fileobj is sys.stdin:
                return
            over(waiting, sent, key.fileobj, answered=has_answer(key.fileobj, sent[key.fileobj][1]))
        now_s = time.monotonic()
        for late in [each for each, (at_s, _) in sent.items() if now_s - at_s > PATIENCE_S]:
            over(waiting, sent, late, answered=False)
        if now_s >= next_s:
            number, next_s = (number + 1) % 65536, next_s + EVERY_S
            ask(waiting, sent, address, struct.pack(">H", number))


def ask(waiting: selectors.BaseSelector, sent: dict, address: str, identity: bytes) -> None:
    asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sent[asking] = (time.monotonic(), identity)
    waiting.register(asking, selectors.EVENT_READ)
    try:
        asking.connect((address, 53))
        asking.send(identity + b"\x01\x00\x00\x01\0\0\0\0\0\0" + NAME + b"\0\x01\0\x01")
    except OSError:  # told at once that there is no way
        over(waiting, sent, asking, answered=False)


def has_answer(asking: socket.socket, identity: bytes) -> bool:
    try:
        reply = asking.recv(4096)
    except OSError:
        return False
    answers = struct.unpack(">H", reply[6:8])[0]
    return reply[:2] == identity and not reply[3] & 0x0F and answers > 0


def over(waiting: selectors.BaseSelector, sent: dict, asking: socket.socket, *, answered: bool) -> None:
    at_s, _ = sent.pop(asking)
    waiting.unregister(asking)
    asking.close()
    print(f"{at_s:.3f} {int(answered)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
