"""odhcpd: the captive-portal API by DHCP and in router advertisements, as OpenWrt's UCI has it."""

from __future__ import annotations

from collections.abc import Iterator

from portald.config import Config
from portald.rendering.portal import WITHOUT_HTTPS, comment, interfaces


def lines(settings: Config) -> Iterator[str]:
    """Yield sections of /etc/config/dhcp."""
    yield "# portalctl render odhcpd, for /etc/config/dhcp"
    places = list(interfaces(settings))
    if not places:
        yield from comment(WITHOUT_HTTPS)
        return
    yield from comment(
        "Where phones find the captive-portal API (RFC 8910): DHCPv4 option 114, DHCPv6 option 103 and"
        " option 37 of router advertisements. It takes an odhcpd of November 2025 or newer; older ones"
        " pass over the option and say nothing. Where dnsmasq serves DHCPv4, as OpenWrt comes, it needs its"
        " own (portalctl render dnsmasq), and so do the portal's name and the walled garden: odhcpd answers"
        " no DNS. If a section for the interface is there already, add captive_portal_uri to that; a new"
        " one serves nothing until it says so (ra, dhcpv4, dhcpv6)."
    )
    for interface, uri in places:
        yield ""
        yield "config dhcp"
        yield f"\toption ifname '{interface}'"
        yield f"\toption captive_portal_uri '{uri}'"
