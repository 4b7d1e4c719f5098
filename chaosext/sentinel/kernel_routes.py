"""Whether the node has a specific route to an address, as chosen by its kernel (netlink, rtnetlink(7)).

It asks the kernel which entry of its tables it would use (RTM_GETROUTE with RTM_F_FIB_MATCH, Linux 4.13), and
for that entry's origin. A specific route was installed by a routing daemon (by BIRD, from what its peers
advertise), or is a direct one (a local Pod's interface, a network that the node is on). The default route
does not count, nor does a static one for the whole Pod network: every node has those, whether or not the
address is reachable.

Such a route proves that this node has learned a path and uses it by longest prefix match. It does not prove
that packets arrive, nor that the other side has a route back. With graceful restart, BIRD keeps routes of a
lost session for a while.
"""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from chaosext.model.signal import Mark
from chaosext.sentinel.socket_loop import Probe, readable

if TYPE_CHECKING:
    from collections.abc import Sequence

RTM_GETROUTE = 26
NLM_F_REQUEST = 1
NLMSG_ERROR = 2
RTA_DST = 1
RTM_F_FIB_MATCH = 0x2000
RTN_UNICAST, RTN_LOCAL = 1, 2
RT_SCOPE_LINK = 253
"""Constants from linux/netlink.h and linux/rtnetlink.h."""

LARGEST = 1 << 14

DAEMONS = frozenset({11, 12, 17, 42, 80, 186, 187, 188, 189, 192})
"""Routing protocols that learn routes from others: zebra, BIRD, kube-router (17, `ZebraOriginator` of its
pkg/routes), Babel, Calico's Felix (80,
`DeviceRouteProtocol` of its tunnels), BGP, IS-IS, OSPF, RIP, EIGRP (linux/rtnetlink.h, RTPROT_*). Not
included: kernel, boot, static, RA, DHCP."""

_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR = struct.Struct("=i")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """An entry of the kernel's routing tables."""

    prefix_bits: int
    protocol: int
    scope: int
    kind: int

    @property
    def is_own(self) -> bool:
        """Whether the route is specific, as described above. One of the node's own addresses counts too."""
        if self.kind == RTN_LOCAL:
            return True
        told = self.protocol in DAEMONS or self.scope == RT_SCOPE_LINK
        return self.kind == RTN_UNICAST and self.prefix_bits > 0 and told


def request(address: str, sequence: int) -> bytes:
    """Build the netlink request for the route to `address`. Raises `ValueError` for an invalid address."""
    packed = ip_address(address).packed
    family = socket.AF_INET6 if len(packed) > 4 else socket.AF_INET
    route = _ROUTE.pack(family, len(packed) * 8, 0, 0, 0, 0, 0, 0, RTM_F_FIB_MATCH)
    body = route + _ATTRIBUTE.pack(_ATTRIBUTE.size + len(packed), RTA_DST) + packed
    return _HEADER.pack(_HEADER.size + len(body), RTM_GETROUTE, NLM_F_REQUEST, sequence, 0) + body


def parse(answer: bytes) -> Route | int:
    """Return the route, or the kernel's error number. Raises `struct.error` for a truncated answer."""
    _, kind, _, _, _ = _HEADER.unpack_from(answer)
    if kind == NLMSG_ERROR:
        return -int(_ERROR.unpack_from(answer, _HEADER.size)[0])
    _, prefix_bits, _, _, _, protocol, scope, route_kind, _ = _ROUTE.unpack_from(answer, _HEADER.size)
    return Route(prefix_bits=prefix_bits, protocol=protocol, scope=scope, kind=route_kind)


def mark(found: Route | int) -> Mark:
    """Mark a route. Down: not a specific one. No route: none at all, or an unreachable or blackhole route."""
    if isinstance(found, Route):
        return Mark.GOOD if found.is_own else Mark.DOWN
    no_way = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL, errno.EACCES)
    return Mark.NO_ROUTE if found in no_way else Mark.UNKNOWN


def ask(addresses: Sequence[str]) -> Probe[list[Mark]]:
    """Mark each of `addresses`. The kernel answers the requests one by one, without delay."""
    marks: list[Mark] = []
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0) as sock:
            for sequence, address in enumerate(addresses):
                sock.sendto(request(address, sequence), (0, 0))
                yield from readable(sock)
                marks.append(mark(parse(sock.recv(LARGEST))))
    except OSError:
        pass
    return marks + [Mark.UNKNOWN] * (len(addresses) - len(marks))
