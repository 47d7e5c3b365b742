"""radvd: the captive-portal API in router advertisements (radvd.conf(5))."""

from __future__ import annotations

from collections.abc import Iterator

from portald.config import Config
from portald.rendering.portal import WITHOUT_HTTPS, comment, interfaces


def lines(settings: Config) -> Iterator[str]:
    """Yield radvd's settings."""
    yield "# portalctl render radvd > /etc/radvd.conf"
    places = list(interfaces(settings))
    if not places:
        yield from comment(WITHOUT_HTTPS)
        return
    yield from comment(
        "Where phones find the captive-portal API (RFC 8910), in router advertisements: option 37. It takes"
        " radvd 2.20; an older one (Debian 12 has 2.19) refuses the line with AdvCaptivePortalAPI. Take it"
        " out there: phones then learn of the API by DHCP, which dnsmasq and Kea can. radvd has no DHCP"
        " and answers no DNS: portalctl render dnsmasq. If you describe these interfaces already, add"
        " that line only. The DNS server that guests are told by IPv6 (RDNSS) is yours to add."
    )
    for interface, uri in places:
        yield f"interface {interface} {{"
        yield "\tAdvSendAdvert on;"
        yield f'\tAdvCaptivePortalAPI "{uri}";'
        yield "\tprefix ::/64 { };"
        yield "};"
