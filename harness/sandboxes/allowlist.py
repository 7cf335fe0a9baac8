"""Which hosts a sandbox may reach, and which addresses are never meant by a public name."""

import ipaddress
import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.errors import InputError

_WEB_PORTS = (80, 443)
_NAME = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?|\*|\[[0-9a-f:.]+\]", re.ASCII)
#: Of this machine, its links and private networks, carriers' shared space, multicast, reserved:
#: the IANA special-purpose registries but for what is routed nowhere. Cloud metadata services
#: are at 169.254.169.254, fd00:ec2::254 and 100.100.100.200.
_INTERNAL = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "224.0.0.0/4", "240.0.0.0/4",
        "::/127", "64:ff9b:1::/48", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip
#: IPv6 addresses that carry an IPv4 address in their last bits: mapped, NAT64; 6to4 in front.
_CARRIERS = ("::ffff:0:0/96", "64:ff9b::/96", "::/96")


_REJECT = 0x200  # a route's flag


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of an allow list. `port` None: the ports of HTTP and HTTPS."""

    host: str
    port: int | None = None

    def matches(self, host: str, port: int) -> bool:
        if port not in (_WEB_PORTS if self.port is None else (self.port,)):
            return False
        if self.host.startswith("*."):
            return host.endswith(self.host[1:])
        return self.host in ("*", host)

    @property
    def may_be_internal(self) -> bool:
        """Named whole, with its port: whoever wrote that means this very service."""
        return self.port is not None and not self.host.startswith("*")


def rules(allow: Iterable[str]) -> tuple[Rule, ...]:
    """The rules written as in `SandboxLimits.allow`. Raises `InputError` for what is none."""
    return tuple(_rule(text.strip().lower()) for text in allow)


def _rule(text: str) -> Rule:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, ""
    if not _NAME.fullmatch(host) or (colon and port and not port.isdigit()):
        raise InputError(
            f"{text!r} is not a host to allow; write example.org, example.org:8443, "
            "*.example.org or * (all that is public)"
        )
    return Rule(host.strip("[]").rstrip("."), int(port) if port else None)


def permitting(rules: Iterable[Rule], host: str, port: int) -> Rule | None:
    """The rule that lets `host` be reached on `port`: one that allows an internal address too
    before others."""
    name = host.lower().rstrip(".")
    found = [rule for rule in rules if rule.matches(name, port)]
    return next((r for r in found if r.may_be_internal), found[0] if found else None)


def is_internal(address: str) -> bool:
    """Whether it is of this machine or of a network around it rather than of the internet."""
    given = ipaddress.ip_address(address.partition("%")[0])
    return any(
        any(one in network for network in _INTERNAL if network.version == one.version)
        or _is_own(one)
        or _is_on_link(one)
        for one in _carried(given)
    )


def _carried(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """The address itself and one within it."""
    if address.version == 4 or not isinstance(address, IPv6Address):
        return [address]
    if any(address in ipaddress.ip_network(text) for text in _CARRIERS):
        return [address, IPv4Address(int(address) & 0xFFFFFFFF)]
    return [address, address.sixtofour] if address.sixtofour else [address]


def _is_own(address: IPv4Address | IPv6Address) -> bool:
    """Only an address of this machine can be bound to."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def _is_on_link(address: IPv4Address | IPv6Address) -> bool:
    """Reached without a gateway: a neighbour in this machine's own network."""
    name = "route" if address.version == 4 else "ipv6_route"
    try:
        table = Path("/proc/net", name).read_text(encoding="ascii")
    except OSError:
        return False
    return any(address in network for network in links(table, address.version))


def links(table: str, version: int) -> Iterator[IPv4Network | IPv6Network]:
    """The networks that a machine is in, of its routes as /proc/net/route and ipv6_route say."""
    for line in table.splitlines()[1:] if version == 4 else table.splitlines():
        network, gateway, rejecting = (_route if version == 4 else _route6)(line.split())
        if network.prefixlen and not gateway and not rejecting:
            yield network


def _route(words: list[str]) -> tuple[IPv4Network, bool, bool]:
    """Of a line: the network, whether by way of a gateway, and whether it leads nowhere."""
    target, mask = (int.from_bytes(bytes.fromhex(words[n])[::-1]) for n in (1, 7))
    network = IPv4Network((target & mask, mask.bit_count()), strict=False)
    return network, bool(int(words[2], 16)), bool(int(words[3], 16) & _REJECT)


def _route6(words: list[str]) -> tuple[IPv6Network, bool, bool]:
    network = IPv6Network((int(words[0], 16), int(words[1], 16)), strict=False)
    return network, bool(int(words[4], 16)), bool(int(words[8], 16) & _REJECT)


def named_services(texts: Iterable[str]) -> tuple[str, ...]:
    """host:port of every http(s) address in configuration texts: what they name is meant."""
    found: dict[str, None] = {}
    for text in texts:
        for url in re.findall(r"https?://[^\s'\"<>,;]+", text):
            try:
                parts = urlsplit(url)
                port = parts.port or (443 if parts.scheme == "https" else 80)
            except ValueError:
                continue
            if parts.hostname and _NAME.fullmatch(parts.hostname):
                found[f"{parts.hostname}:{port}"] = None
    return tuple(found)
