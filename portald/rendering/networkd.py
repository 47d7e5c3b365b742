"""systemd-networkd: the captive-portal API by DHCPv4 (systemd.network(5))."""

from __future__ import annotations

from collections.abc import Iterator

from portald.config import Config
from portald.rendering.portal import WITHOUT_HTTPS, comment, interfaces


def lines(settings: Config) -> Iterator[str]:
    """Yield a drop-in for the .network files of the guests' interfaces."""
    yield "# portalctl render systemd-networkd > /etc/systemd/network/FILE.network.d/portald.conf"
    places = list(interfaces(settings))
    if not places:
        yield from comment(WITHOUT_HTTPS)
        return
    names = ", ".join(interface for interface, _ in places)
    yield from comment(
        f"FILE.network is what you have for {names}; with several files, each has this drop-in. Where"
        " phones find the captive-portal API (RFC 8910): DHCPv4 option 114. networkd has no"
        " DHCPv6 server, and no setting yet for the API in the router advertisements it sends; phones"
        " that have no DHCP need radvd 2.20 for these. It answers no DNS: portalctl render dnsmasq."
    )
    yield "[DHCPServer]"
    # The API's address comes from the settings once, whatever the zone.
    yield f"SendOption=114:string:{places[0][1]}"
