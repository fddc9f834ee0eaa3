"""Encrypted dask: one certificate that all members of a cluster share.

Scheduler, workers and client authenticate each other with it: a process without the folder can
neither listen nor send tasks. Traffic outside dask is not covered: the ring of `solve`, the
dashboard and its metrics.
"""

from __future__ import annotations

import datetime
import os
import ssl
from pathlib import Path
from typing import Any

from tim3d.errors import ArgumentError, InputError, MissingExtraError
from tim3d.storage.files import writing

CERTIFICATE, KEY = "certificate.pem", "key.pem"
DAYS = 365


def certificates(folder: str | Path, days: int = DAYS) -> Path:
    """Make a key (readable by its owner only) and a self-signed certificate.

    Parameters
    ----------
    folder : path
        Folder that all members of the cluster see. Created if missing. All members need the same
        two files: on a shared disk, or copied securely.
    days : int
        Days for which the certificate is valid.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ArgumentError
        If the folder has certificates already, or `days` is not positive.
    MissingExtraError
        If the package cryptography is missing.
    WriteError
        If the folder cannot be written.
    """
    there, path = (
        [name for name in (CERTIFICATE, KEY) if (Path(folder) / name).exists()],
        Path(folder),
    )
    if there:
        raise ArgumentError(
            f"{path} holds {there[0]} already, which running clusters may use; give another folder"
        )
    if days < 1:
        raise ArgumentError(f"certificates for {days} days: give at least 1")
    key, certificate = _pair(days)
    with writing(str(path)):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_new(path / KEY, key, 0o600)
        _write_new(path / CERTIFICATE, certificate, 0o644)
    return path


def _pair(days: int) -> tuple[bytes, bytes]:
    """A new key and its certificate, as PEM."""
    x509 = _x509()
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tim3d")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))  # clocks of nodes need not agree
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    pem = serialization.Encoding.PEM
    return key.private_bytes(pem, form, plain), certificate.public_bytes(pem)


def _x509() -> Any:
    try:
        from cryptography import x509
    except ImportError as error:
        raise MissingExtraError(
            "certificates need cryptography. Type: pip install 'tim3d[tls]'"
        ) from error
    return x509


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Create a file that must not exist, with these access rights from the first moment."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)


def security(folder: str | Path) -> Any:
    """dask's security settings for the certificates of a folder, which enforce encryption.

    Raises
    ------
    InputError
        If a file is missing, damaged, out of date, or the key can be read by others.
    """
    from distributed import Security

    certificate, key = (str(_checked(Path(folder)) / name) for name in (CERTIFICATE, KEY))
    roles = {
        f"tls_{role}_{what}": path
        for role in ("client", "scheduler", "worker")
        for what, path in (("cert", certificate), ("key", key))
    }
    return Security(require_encryption=True, tls_ca_file=certificate, **roles)


def _checked(folder: Path) -> Path:
    """The folder as an absolute path, after a check: workers start in other folders."""
    certificate, key = folder / CERTIFICATE, folder / KEY
    for path in (certificate, key):
        if not path.is_file():
            raise InputError(
                f"no {path.name} in {folder}. Make certificates: tim3d certificates {folder}"
            )
    # A key with another owner, such as a mounted secret, is read through its group.
    if key.stat().st_mode & (0o077 if key.stat().st_uid == os.geteuid() else 0o007):
        raise InputError(
            f"{key} can be read by others. Type: chmod 600 {key}; if others may have read it, make new ones"
        )
    cure = f"Make new ones in another folder: tim3d certificates {folder}-2"
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
        until = _x509().load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    except (ssl.SSLError, ValueError, OSError) as error:
        raise InputError(
            f"the certificates in {folder} cannot be used ({error}). {cure}"
        ) from error
    if until < datetime.datetime.now(datetime.UTC):
        raise InputError(
            f"the certificates in {folder} were valid until {until:%Y-%m-%d %H:%M} UTC. {cure}"
        )
    return folder.absolute()


def own_or_new(folder: str | Path) -> Any:
    """`security` of a folder, in which certificates are made if it has none."""
    if not any((Path(folder) / name).exists() for name in (CERTIFICATE, KEY)):
        certificates(folder)
    return security(folder)
