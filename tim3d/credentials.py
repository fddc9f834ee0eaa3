"""Passwords, keys and signatures: refused in URLs, and masked in logs and in files of a run."""

from __future__ import annotations

import os
import re
from urllib.parse import parse_qsl

from tim3d.errors import ArgumentError

# Names of variables and of URL parameters whose values are secret.
_SECRET = re.compile(
    r"secret|token|passw|credential|signature|^sig$|(account|api|private)_?key", re.IGNORECASE
)
_USER_INFO = re.compile(r"(?<=://)[^/\s@'\"]+@")
_QUERY = re.compile(r"(?<=[?&])([^=&\s]+)=([^&\s'\"]+)")
_SHORTEST_SECRET = 8


def refuse_credentials(url: object) -> None:
    """Refuse a URL with a password, key or signature.

    It would appear in logs, provenance and reports.

    Raises
    ------
    ArgumentError
        If the URL has any; the message does not repeat them.

    Examples
    --------
    >>> refuse_credentials("s3://bucket/a.zarr")
    """
    text = os.fspath(url) if isinstance(url, os.PathLike) else url
    if not isinstance(text, str) or "://" not in text:
        return
    signed = any(
        _SECRET.search(key) for key, _ in parse_qsl(text.partition("?")[2], keep_blank_values=True)
    )
    if signed or _USER_INFO.search(text):
        raise ArgumentError(
            f"{without_secrets(text)} carries credentials, which would be written down with the "
            "sample. Leave them out of the URL and set them in the environment: AWS_ACCESS_KEY_ID ..."
        )


def without_secrets(text: str) -> str:
    """Mask user names, passwords and signatures in URLs, and values of secret variables, by stars.

    >>> without_secrets("cannot read https://me:word@host/a?sig=abc&version=2")
    'cannot read https://***@host/a?sig=***&version=2'
    """
    secrets = {v for k, v in os.environ.items() if _SECRET.search(k) and len(v) >= _SHORTEST_SECRET}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    signed = _QUERY.sub(lambda m: f"{m[1]}=***" if _SECRET.search(m[1]) else m[0], text)
    return _USER_INFO.sub("***@", signed)
