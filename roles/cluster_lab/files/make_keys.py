# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the folders, keys, tokens and kubeconfigs of a lab, and print the names of those that were made or changed.

Its argument is JSON:

folder -- folder of the lab
name -- name of the lab
address, service -- addresses of the API server: the node's, and that of the Service `kubernetes`
users -- by the names of their kubeconfigs: user and groups
folders -- empty folders to make
dry_run -- print the names only

Existing keys and tokens stay. One process makes all files: a task for each would take as long as the start of the
cluster.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import secrets
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


class Folder:
    """The files of the lab."""

    def __init__(self, path: str, dry_run: bool) -> None:
        self.path, self.dry_run = Path(path), dry_run

    def read(self, name: str) -> bytes:
        """The content of a file; empty if it does not exist."""
        path = self.path / name
        return path.read_bytes() if path.exists() else b""

    def write(self, name: str, content: bytes) -> None:
        """Write a file, for root alone, if its content differs."""
        if self.read(name) == content:
            return
        print(name)
        if not self.dry_run:
            path = self.path / name
            path.touch(mode=0o600)
            path.write_bytes(content)

    def make(self, name: str) -> None:
        """Make a folder, for root alone, if it does not exist."""
        path = self.path / name
        if not path.exists():
            print(name)
            if not self.dry_run:
                path.mkdir(mode=0o700, parents=True)

    def key(self, name: str) -> ec.EllipticCurvePrivateKey:
        """A private key, made if it does not exist."""
        content = self.read("keys/%s.key" % name)
        if content:
            return serialization.load_pem_private_key(content, None)  # type: ignore[return-value]
        key = ec.generate_private_key(ec.SECP256R1())
        # The API server derives the public key of service accounts from this format only.
        how = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
        self.write("keys/%s.key" % name, key.private_bytes(*how))
        return key

    def certificate(self, name: str, wanted: x509.CertificateBuilder, signer: ec.EllipticCurvePrivateKey) -> bytes:
        """A certificate, made unless there is one of the same content."""
        content = self.read("keys/%s.crt" % name)
        made = wanted.sign(signer, hashes.SHA256())
        if not content or essence(x509.load_pem_x509_certificate(content)) != essence(made):
            content = made.public_bytes(serialization.Encoding.PEM)
            self.write("keys/%s.crt" % name, content)
        return content

    def token(self, name: str) -> str:
        """A user's token, made if it does not exist."""
        path = "keys/%s.token" % name
        token = self.read(path).decode().strip() or secrets.token_hex(16)
        self.write(path, token.encode())
        return token


def essence(certificate: x509.Certificate) -> tuple[Any, ...]:
    """The content of a certificate without its time, number and signature."""
    key = certificate.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return certificate.subject, certificate.issuer, key, sorted(repr(one) for one in certificate.extensions)


def builder(issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    """A certificate for ten years, to be signed."""
    now = datetime.datetime.now(datetime.timezone.utc)
    made = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    return made.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(3650))


def make_certificates(folder: Folder, name: str, addresses: list[str]) -> bytes:
    """The certificates of the authority, which is returned, and of the API server."""
    authority, server = folder.key("ca"), folder.key("apiserver")
    folder.key("service-accounts")
    signs = dict.fromkeys(("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"), False)
    signs.update(key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    root = builder(issuer, issuer, authority)
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    root = root.add_extension(x509.KeyUsage(**signs), critical=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key
    root = root.add_extension(identifier(authority.public_key()), critical=False)
    # The API server serves by this certificate, and authenticates to the kubelets by it.
    names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    names += map(x509.DNSName, ("kubernetes", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"))
    subject = {NameOID.COMMON_NAME: "kube-apiserver", NameOID.ORGANIZATION_NAME: "system:masters"}
    leaf = builder(issuer, x509.Name([x509.NameAttribute(*part) for part in subject.items()]), server)
    usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    leaf = leaf.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
    leaf = leaf.add_extension(x509.SubjectAlternativeName(names), critical=False)
    # Python 3.13 insists on both.
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
    leaf = leaf.add_extension(identifier(server.public_key()), critical=False)
    leaf = leaf.add_extension(signer, critical=False)
    content = folder.certificate("ca", root, authority)
    folder.certificate("apiserver", leaf, authority)
    return content


def kubeconfig(name: str, server: str, authority: bytes, user: str, token: str) -> bytes:
    """The kubeconfig of a user, in JSON, which is YAML as well."""
    cluster = {"server": server, "certificate-authority-data": b64encode(authority).decode()}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
        "current-context": name,
    }
    return json.dumps(content, indent=2).encode() + b"\n"


def main() -> None:
    """Write the files."""
    os.umask(0o077)
    wanted = json.loads(sys.argv[1])
    folder, name = Folder(wanted["folder"], wanted["dry_run"]), wanted["name"]
    for path in ("keys", "kubeconfigs", *wanted["folders"]):
        folder.make(path)
    authority = make_certificates(folder, name, [wanted["address"], "127.0.0.1", wanted["service"]])
    lines = []
    for user, who in wanted["users"].items():
        token = folder.token(user)
        lines.append('%s,%s,%s,"%s"\n' % (token, who["user"], who["user"], who["groups"]))
        server = "https://%s:6443" % wanted["address"]
        folder.write("kubeconfigs/%s.conf" % user, kubeconfig(name, server, authority, user, token))
    folder.write("keys/tokens.csv", "".join(lines).encode())


if __name__ == "__main__":
    main()
