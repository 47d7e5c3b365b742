"""dnsmasq: DHCP options, the portal's name, the walled garden and what checks certificates (dnsmasq(8))."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from portald.config import Config, is_name
from portald.rendering.portal import WITHOUT_HTTPS, comment, host, interfaces


def lines(settings: Config, ipset: bool = False, certificate_hosts: Sequence[str] = ()) -> Iterator[str]:
    """Yield dnsmasq's settings; ``certificate_hosts`` are those the portal's certificate names."""
    yield "# portalctl render dnsmasq > /etc/dnsmasq.d/portald.conf"
    yield from _options(settings)
    yield from _name(settings)
    yield from _resolving()
    yield from _sets("The walled garden", "garden", settings.garden.names, ipset)
    if not settings.garden.names:
        yield '# It has no names; set names = ["example.com"] in [garden].'
    # A certificate is made elsewhere: what is no name must not become a line here.
    hosts = [name.lower() for name in certificate_hosts if is_name(name.lower())]
    checks = dict.fromkeys([*hosts, *settings.garden.checks]) if _https(settings) else {}
    garden = settings.garden.names
    open_already = {name for name in checks if any(f".{name}".endswith(f".{top}") for top in garden)}
    names = [name for name in checks if name not in open_already]
    yield from _sets("Certificates and the time, a little before login", "checks", names, ipset)
    if not names:
        yield "# None: they are opened with an https address, by checks in [garden]."


def _https(settings: Config) -> bool:
    return any(interfaces(settings))


def _options(settings: Config) -> Iterator[str]:
    yield ""
    if not _https(settings):
        yield from comment(WITHOUT_HTTPS)
    else:
        yield from comment(
            "Where phones find the captive-portal API, for those who ask (RFC 8910): DHCPv4 option 114 and"
            " DHCPv6 option 103. dnsmasq cannot put it into router advertisements (option 37); phones"
            " that have no DHCP need radvd 2.20 or odhcpd for these."
        )
    for interface, uri in interfaces(settings):
        yield f'dhcp-option=tag:{interface},114,"{uri}"'
        yield f'dhcp-option=tag:{interface},option6:103,"{uri}"'


def _name(settings: Config) -> Iterator[str]:
    if not (name := host(settings)):
        return
    yield ""
    yield from comment(
        "The portal's name: every guest gets the address of his own gateway, and no other server is asked,"
        " neither for IPv6 nor for HTTPS records (type 65) of this name."
    )
    yield "localise-queries"
    for zone in settings.zones:
        yield from (f"interface-name={name},{interface}/4" for interface in zone.interfaces)
    yield f"local=/{name}/"


def _resolving() -> Iterator[str]:
    yield ""
    yield from comment(
        "Firefox asks for this name before it uses DNS over HTTPS by itself, and does not where there is"
        " none: names are then answered, and opened, here."
    )
    yield "local=/use-application-dns.net/"
    yield from comment(
        "iCloud Private Relay is left alone: it waits for the login by itself. Apple would have"
        " mask.icloud.com and mask-h2.icloud.com denied only where a network must see what its users do,"
        " and warns them then."
    )
    yield from comment(
        "HTTPS and SVCB records (types 65 and 64) pass as they are: do not name them in filter-rr."
    )


def _sets(title: str, name: str, names: Sequence[str], ipset: bool) -> Iterator[str]:
    yield ""
    yield f"# {title}"
    for host_name in names:
        if ipset:
            yield f"ipset=/{host_name}/portald_{name}4,portald_{name}6"
        else:
            yield f"nftset=/{host_name}/4#inet#portald#{name}4,6#inet#portald#{name}6"
