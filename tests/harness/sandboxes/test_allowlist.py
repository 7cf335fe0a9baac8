"""Which hosts a rule lets through, and which addresses are internal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.sandboxes.allowlist import is_internal, links, named_services, permitting, rules
from orchestrator.errors import InputError


@pytest.mark.parametrize(
    ("allow", "host", "port", "allowed"),
    [
        ("example.org", "example.org", 443, True),
        ("example.org", "EXAMPLE.org.", 80, True),
        ("example.org", "example.org", 22, False),
        ("example.org", "www.example.org", 443, False),
        ("example.org", "example.org.evil.net", 443, False),
        ("example.org:8443", "example.org", 8443, True),
        ("example.org:8443", "example.org", 443, False),
        ("*.example.org", "a.b.example.org", 443, True),
        ("*.example.org", "example.org", 443, False),
        ("*.example.org", "evilexample.org", 443, False),
        ("*", "anything.net", 443, True),
        ("*", "anything.net", 25, False),
        ("[::1]:8080", "::1", 8080, True),
    ],
)
def test_rules(allow: str, host: str, port: int, allowed: bool) -> None:
    assert (permitting(rules([allow]), host, port) is not None) == allowed


def test_only_a_whole_name_with_its_port_means_an_internal_service() -> None:
    for text, meant in (("h", False), ("*", False), ("*.h:80", False), ("h:80", True)):
        assert rules([text])[0].may_be_internal is meant
    found = permitting(rules(["*", "h:80"]), "h", 80)
    assert found is not None
    assert found.may_be_internal


@pytest.mark.parametrize("text", ["", "http://example.org", "a b", "x:y", "a/b", "*x", "a\nb", "-"])
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not a host"):
        rules([text])


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255",
        "192.168.1.1", "169.254.169.254", "100.100.100.200", "224.0.0.1", "255.255.255.255",
        "::1", "::", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "::127.0.0.1",
        "2002:7f00:1::",
        "64:ff9b:1::7f00:1",
    ],
)  # fmt: skip
def test_internal_addresses(address: str) -> None:
    assert is_internal(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "172.32.0.1", "2606:4700::1111", "100.128.0.1"])
def test_addresses_of_the_internet(address: str) -> None:
    assert not is_internal(address)


def test_networks_that_the_machine_is_in() -> None:
    """A neighbour's address may be of the internet by its number."""
    none = "0" * 32
    table = (
        f"2001067c000000000000000000000000 40 {none} 00 {none} 00000100 1 0 00000001 eth0\n"
        f"{none} 00 {none} 00 fe800000000000000000000000000001 00000400 2 0 00000003 eth0\n"
        f"20010000000000000000000000000000 20 {none} 00 {none} ffffffff 1 0 00200200 lo\n"
    )
    assert [str(network) for network in links(table, 6)] == ["2001:67c::/64"]
    table = (
        "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
        "eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0\n"
        "eth0 00710005 00000000 0001 0 0 0 00FFFFFF 0 0 0\n"
    )
    assert [str(network) for network in links(table, 4)] == ["5.0.113.0/24"]


@given(st.ip_addresses(network="10.0.0.0/8"))
def test_an_internal_address_stays_internal_inside_an_ipv6_one(address: object) -> None:
    assert is_internal(f"::ffff:{address}")


def test_services_named_in_configuration() -> None:
    text = "[global]\nindex-url = https://u:p@pypi.corp/simple\nextra = http://127.0.0.1:8081/x"
    assert named_services([text, "file:///opt/x", "http://[::1", "https://a,https://b:9/c"]) == (
        "pypi.corp:443", "127.0.0.1:8081", "a:443", "b:9",
    )  # fmt: skip
