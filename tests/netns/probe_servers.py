"""Servers for probe_lab: DNS over UDP and TCP on port 53, and a port 15006 that accepts and resets.

Names say what is wanted: `nx.…` NXDOMAIN, `fail.…` SERVFAIL, `mute.…` no reply, `other.…` a reply to another query,
`big.…` a long reply, anything else 192.0.2.1. Over TCP the reply comes in two pieces, as TCP may deliver it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys

from dns.flags import QR
from dns.message import from_wire, make_response
from dns.rcode import NXDOMAIN, SERVFAIL
from dns.rrset import from_text


def reply_to(wire: bytes) -> bytes | None:
    query = from_wire(wire)
    question = query.question[0]
    kind = question.name.labels[0].decode()
    if kind == "mute":
        return None
    reply = make_response(query)
    reply.flags |= QR
    if kind == "nx":
        reply.set_rcode(NXDOMAIN)
    elif kind == "fail":
        reply.set_rcode(SERVFAIL)
    elif kind == "other":
        reply.id ^= 0x0A0A
    else:
        texts = [f"192.0.2.{last}" for last in range(1, 200 if kind == "big" else 2)]
        if question.rdtype == 1:
            reply.answer.append(from_text(question.name, 5, "IN", "A", *texts))
    return reply.to_wire(max_size=65535)


class Udp(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = reply_to(data)
        if reply is not None:
            self.transport.sendto(reply, addr)


async def serve_tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        size = int.from_bytes(await reader.readexactly(2))
        reply = reply_to(await reader.readexactly(size))
        if reply is not None:
            writer.write(len(reply).to_bytes(2) + reply[:5])
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.write(reply[5:])
            await writer.drain()
        await reader.read()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def main(addresses: list[str], resets: str) -> None:
    loop = asyncio.get_running_loop()
    for address in addresses:
        await loop.create_datagram_endpoint(Udp, local_addr=(address, 53))
        await asyncio.start_server(serve_tcp, address, 53)
    await asyncio.start_server(reset, resets, 15006)
    print("serving", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1:-1], sys.argv[-1]))
