"""The cluster's own certificates and kubeconfigs, new for every run."""

import datetime as dt
import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.cluster.run import DOMAIN, KUBERNETES_SERVICE_IP, NODE, NODE_IP, Run

# File name -> (common name, organisation): the user and group that RBAC sees.
CLIENTS = {
    "admin": ("kubernetes-admin", "system:masters"),
    "apiserver-to-kubelet": ("kube-apiserver-kubelet-client", "system:masters"),
    "kubelet": (f"system:node:{NODE}", "system:nodes"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kube-proxy": ("system:kube-proxy", ""),
    # Kubernetes brings no role for a DNS server outside of a pod.
    "dns": ("system:coredns", "system:masters"),
}
SERVERS = {
    "apiserver": [
        "kubernetes", "kubernetes.default", "kubernetes.default.svc",
        f"kubernetes.default.svc.{DOMAIN}", KUBERNETES_SERVICE_IP, NODE_IP, "127.0.0.1",
    ],
    "kubelet-server": [NODE, NODE_IP],
}  # fmt: skip


@dataclass(frozen=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    now: dt.datetime


def write(run: Run, now: dt.datetime) -> None:
    """All keys and certificates, and a kubeconfig for each client."""
    run.pki.mkdir(mode=0o700)
    key = _new_key(run.pki / "ca.key")
    name = _name("thoughtgate-test-cluster", "")
    ca = _builder(name, name, key, now).add_extension(x509.BasicConstraints(True, 0), critical=True)
    authority = _Authority(ca.sign(key, hashes.SHA256()), key, now)
    _save(run.pki / "ca.crt", authority.certificate)
    _new_key(run.pki / "service-accounts.key")
    for file, alternatives in SERVERS.items():
        _issue(run.pki / file, authority, _name(file, ""), alternatives)
    for file, (user, group) in CLIENTS.items():
        _issue(run.pki / file, authority, _name(user, group), [])
        _write_kubeconfig(run, file)
    run.kubeconfig.write_text((run.pki / "admin.kubeconfig").read_text())
    run.kubeconfig.chmod(0o600)


def _issue(base: Path, authority: _Authority, subject: x509.Name, alternatives: list[str]) -> None:
    key = _new_key(base.with_name(f"{base.name}.key"))
    issuer = authority.certificate.subject
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if alternatives else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = _builder(subject, issuer, key, authority.now).add_extension(
        x509.ExtendedKeyUsage([purpose]), critical=False
    )
    if alternatives:
        names = x509.SubjectAlternativeName([_general_name(name) for name in alternatives])
        builder = builder.add_extension(names, critical=False)
    _save(base.with_name(f"{base.name}.crt"), builder.sign(authority.key, hashes.SHA256()))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=365))
    )


def _name(common: str, organisation: str) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if organisation:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(parts)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _new_key(file: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    file.touch(mode=0o600)
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            # The one form from which Kubernetes also derives a service account key's public half.
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    return key


def _save(file: Path, certificate: x509.Certificate) -> None:
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _write_kubeconfig(run: Run, client: str) -> None:
    pki = run.pki
    files = {
        "client-certificate": str(pki / f"{client}.crt"),
        "client-key": str(pki / f"{client}.key"),
    }
    cluster = {"server": run.api_server, "certificate-authority": str(pki / "ca.crt")}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NODE, "cluster": cluster}],
        "users": [{"name": client, "user": files}],
        "contexts": [{"name": NODE, "context": {"cluster": NODE, "user": client}}],
        "current-context": NODE,
    }
    (pki / f"{client}.kubeconfig").write_text(json.dumps(content, indent=1))
