"""A certificate authority for tests, made by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path


class Authority:
    """Issues certificates that nobody knows but who is given its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate = folder / "authority.pem"
        self._key = folder / "authority.key"
        self._openssl(
            "req", "-x509", *_KEY, "-days", "400", "-subj", "/CN=Authority for tests",
            "-keyout", str(self._key), "-out", str(self.certificate),
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )  # fmt: skip

    def issue(self, name: str, *hosts: str, days: int = 90) -> Path:
        """Write ``name``.pem, the whole chain, and ``name``.key; return the path of the key."""
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        key, made = self.folder / f"{name}.key", self.folder / f"{name}.new"
        names = ",".join(f"DNS:{host}" for host in hosts)
        extensions.write_text(
            f"subjectAltName={names}\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n"
            "authorityInfoAccess=OCSP;URI:http://ocsp.authority.example/x,"
            "caIssuers;URI:http://issuers.authority.example/ca.crt\n"
            "crlDistributionPoints=URI:http://CRL.authority.example:8080/1.crl,URI:ldap://ldap.example/x\n"
        )
        self._openssl("req", *_KEY, "-subj", f"/CN={hosts[0]}", "-keyout", str(key), "-out", str(request))
        self._openssl(
            "x509", "-req", "-in", str(request), "-CA", str(self.certificate), "-CAkey", str(self._key),
            "-days", str(days), "-extfile", str(extensions), "-out", str(made),
        )  # fmt: skip
        made.write_text(made.read_text() + self.certificate.read_text())
        made.replace(self.folder / f"{name}.pem")
        return key

    @staticmethod
    def _openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
