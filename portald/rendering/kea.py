"""Kea: classes of clients, by interface, that are told the captive-portal API (Kea's manual, 14)."""

from __future__ import annotations

import json
from collections.abc import Iterator

from portald.config import Config
from portald.rendering.portal import WITHOUT_HTTPS, comment, interfaces

OPTIONS = {4: 114, 6: 103}


def lines(settings: Config, family: int = 4) -> Iterator[str]:
    """Yield the classes for one of Kea's two DHCP servers, as a file to be included."""
    path = f"/etc/kea/portald{family}.json"
    flag = " --ipv6" if family == 6 else ""
    yield f"// portalctl render kea{flag} > {path}"
    yield from comment(
        f"The classes of kea-dhcp{family}.conf, in Dhcp{family}; if you have some, put these among them:",
        "//",
    )
    yield f'//     "client-classes": <?include "{path}"?>'
    places = list(interfaces(settings))
    if not places:
        yield from comment(WITHOUT_HTTPS, "//")
    else:
        other = "--ipv6 prints that for DHCPv6" if family == 4 else "without --ipv6 it is for DHCPv4"
        yield from comment(
            "Where phones find the captive-portal API, for those who ask (RFC 8910): option"
            f" {OPTIONS[family]}; {other}. Tested with Kea 2.2. Kea sends no router advertisements"
            " (portalctl render radvd) and answers no DNS (portalctl render dnsmasq).",
            "//",
        )
    classes = [
        {
            "name": f"portald-{interface}",
            "test": f"pkt.iface == '{interface}'",
            "option-data": [{"code": OPTIONS[family], "data": uri}],
        }
        for interface, uri in places
    ]
    yield from json.dumps(classes, indent=2).splitlines()
