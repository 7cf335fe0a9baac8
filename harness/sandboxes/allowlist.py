"""Which hosts a sandbox may reach, and which addresses are never meant by a public name."""

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
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
        "::/127", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip
#: IPv6 addresses that carry an IPv4 address in their last bits: mapped, NAT64; 6to4 in front.
_CARRIERS = ("::ffff:0:0/96", "64:ff9b::/96", "::/96")


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
    if address.version == 6:
        return False  # neighbours have link-local and unique local addresses too
    try:
        lines = Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return False
    for line in lines:
        _, target, gateway, _, _, _, _, mask, *_ = line.split()
        bits = int.from_bytes(bytes.fromhex(mask)[::-1])
        if bits and int(gateway, 16) == 0:
            network = int.from_bytes(bytes.fromhex(target)[::-1])
            if int(address) & bits == network:
                return True
    return False


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
