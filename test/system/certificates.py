"""Certificates for tests of TLS, as PEM texts: an authority, and what it issues."""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Authority:
    """A certificate authority with a key of its own; `pem` is what trusts it."""

    def __init__(self, name="authority"):
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        basic = x509.BasicConstraints(ca=True, path_length=None)
        self.pem = _pem(_builder(self._name, self._name, self._key, (-1, 30)).add_extension(basic, True), self._key)

    def issue(self, *names, days=(-1, 30)):
        """(certificate, key) for DNS names or addresses, valid between two days from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name("leaf"), self._name, key, days)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), False)
        text = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return _pem(builder, self._key), text.decode()


def _name(text):
    return x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, text)])


def _general_name(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(subject, issuer, key, days):
    now = datetime.datetime.utcnow()
    begin, end = (now + datetime.timedelta(days=number) for number in days)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    return builder.serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(end)


def _pem(builder, key):
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
