"""nginx: the site that gives the portal https, and tells portald who asks."""

from __future__ import annotations

from collections.abc import Iterator

from portald.config import Config
from portald.errors import ConfigError
from portald.rendering.portal import comment

HEADER = "X-Real-IP"
"""In which nginx says who asks."""


def lines(settings: Config) -> Iterator[str]:
    """Yield the lines of the site, for the ``http`` block of nginx's configuration."""
    web = settings.web
    if web.certificate is None:
        raise ConfigError(
            'certificate: not set; in [web], set it, key and url = "https://name/" (docs/phones.md)'
        )
    yield "# The portal's https: portalctl render nginx > /etc/nginx/conf.d/portald.conf"
    yield "# Then: nginx -t && systemctl reload nginx.  The same reload takes a new certificate in; let"
    yield "# the program that renews it do that.  portald itself needs no restart for it."
    yield "#"
    yield from comment(
        "The gateway's IPv4 address in each guest network, which is all that the portal's name stands for:"
        " every guest has IPv4, and one who asks by IPv6 is led here. A link-local address would not do:"
        " nginx does not say on which interface a guest has it, and without that it names no device."
    )
    addresses = [str(zone.gateway) for zone in settings.zones]
    listens = [f"listen {address}:443 ssl" for address in dict.fromkeys(addresses)]
    yield ""
    yield "server {"
    yield "    # Any other name, or none: there is no certificate for it, and no page."
    yield from (f"    {listen} default_server;" for listen in listens)
    yield "    server_name _;"
    yield "    ssl_protocols TLSv1.2 TLSv1.3;"
    yield "    ssl_reject_handshake on;"
    yield from (f"    {line}" for line in _BOUNDS)
    yield "    return 444;"
    yield "}"
    yield ""
    yield "server {"
    yield from (f"    {listen};" for listen in listens)
    yield f"    server_name {web.host};"
    yield f"    ssl_certificate {web.certificate};"
    yield f"    ssl_certificate_key {web.key};"
    yield "    ssl_protocols TLSv1.2 TLSv1.3;"
    yield "    ssl_session_tickets off;"
    yield "    # What other sites may believe of a proxy (real_ip_header) is believed of no guest. An nginx"
    yield "    # that does not know this line was built without such belief: take the line out there."
    yield "    set_real_ip_from unix:;"
    yield from (f"    {line}" for line in _BOUNDS)
    yield ""
    yield "    location / {"
    yield f"        proxy_pass http://unix:{settings.web_socket};"
    yield "        # Set, never added to: whatever a guest sends under these names is gone."
    yield f"        proxy_set_header {HEADER} $remote_addr;"
    yield f"        proxy_set_header Host {web.host};"
    yield '        proxy_set_header X-Forwarded-For "";'
    yield "        proxy_connect_timeout 3s;"
    yield "        proxy_read_timeout 20s;"
    yield "        proxy_max_temp_file_size 0;"
    yield "    }"
    yield "}"


_BOUNDS = (
    "# Lines of these logs would hold query strings, and so the codes of vouchers.",
    "access_log off;",
    "error_log stderr emerg;",
    "server_tokens off;",
    "client_header_timeout 10s;",
    "client_body_timeout 10s;",
    "send_timeout 10s;",
    "keepalive_timeout 10s;",
    "client_max_body_size 16k;",
    "# As large as that, so that no form is ever written to a disk.",
    "client_body_buffer_size 16k;",
    "large_client_header_buffers 4 8k;",
)
