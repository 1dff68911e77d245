"""Which IP addresses a crawler may connect to: those of the open internet, however they are written.

`ipaddress.is_global` alone is unsafe: on Python 3.11 it accepts multicast, site-local fec0::/10, and loopback or
cloud-metadata addresses wrapped in NAT64, 6to4 or v4-compatible IPv6. Here wrappers are opened and what is inside is
judged (IANA special-purpose registries; RFC 6052, 8215, 3056, 4380, 4291, 5214).
"""

import functools
import ipaddress
from collections.abc import Container, Iterator

from pipeline.web.urls import host_of, port_of

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_V4 = {
    "this network": "0.0.0.0/8",
    "private": "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16",
    "carrier NAT": "100.64.0.0/10",
    "loopback": "127.0.0.0/8",
    "link-local": "169.254.0.0/16",
    "protocol assignments": "192.0.0.0/24 192.31.196.0/24 192.52.193.0/24 192.175.48.0/24",
    "documentation": "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24",
    "6to4 relay": "192.88.99.0/24",
    "benchmarking": "198.18.0.0/15",
    "cloud metadata": "100.100.100.200/32 168.63.129.16/32",
    "multicast": "224.0.0.0/4",
    "reserved": "240.0.0.0/4",
}
_V6 = {
    "unspecified": "::/128",
    "loopback": "::1/128",
    "v4-compatible": "::/96",
    "discard only": "100::/64 100:0:0:1::/64",
    "local NAT64": "64:ff9b:1::/48",
    "protocol assignments": "2001:1::/32 2001:2::/48 2001:3::/32 2001:4:112::/48 2001:10::/28 2001:20::/28 2001:30::/28",
    "documentation": "2001:db8::/32 3fff::/20",
    "segment routing": "5f00::/16",
    "unique local": "fc00::/7",
    "link-local": "fe80::/10",
    "site-local": "fec0::/10",
    "multicast": "ff00::/8",
}
_REFUSED = [
    (ipaddress.ip_network(network), word)
    for table in (_V4, _V6)
    for word, networks in table.items()
    for network in networks.split()
]
_TRANSLATED = ipaddress.ip_network("::ffff:0:0:0/96")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")


@functools.lru_cache(maxsize=20_000)
def refusal(text: str) -> str | None:
    """Why this address may not be connected to ("loopback"), or None for an address of the open internet."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return "not an address"
    for inner in _wrapped(address):
        why = refusal(str(inner))
        if why is not None:
            return why
    for network, word in _REFUSED:
        if address.version == network.version and address in network:
            return word
    if address.version == 6 and address not in _GLOBAL_UNICAST and not list(_wrapped(address)):
        return "reserved"
    return None


def url_refusal(url: str, came_from: str | None, ports: Container[int], permitted_hosts: Container[str]) -> str | None:
    """Why a canonical URL may not be asked for before any name is looked up; `came_from` redirected to it."""
    if came_from is not None and came_from.startswith("https:") and url.startswith("http:"):
        return "redirect from https to http"
    if port_of(url) not in ports:
        return f"port {port_of(url)} is not allowed"
    host = host_of(url)
    # No resolver is asked about a literal address, so it is judged here.
    if host not in permitted_hosts and (":" in host or host.rsplit(".", 1)[-1].isdigit()):
        why = refusal(host)
        return f"{host} is {why}" if why is not None else None
    return None


def _wrapped(address: Address) -> Iterator[ipaddress.IPv4Address]:
    """IPv4 addresses that traffic to this IPv6 address would or could reach."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    low = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    isatap = (int(address) >> 32) & 0xFDFFFFFF == 0x00005EFE  # 200:5efe or 0:5efe before the last 32 bits (RFC 5214)
    if address in _NAT64 or address in _TRANSLATED or isatap:
        yield low
