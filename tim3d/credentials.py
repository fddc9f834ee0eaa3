"""Passwords, keys and signatures: refused in URLs, and never written, neither to a log nor beside a sample."""

from __future__ import annotations

import os
import re
from urllib.parse import parse_qsl

from tim3d.errors import ArgumentError

# Names of variables and of parts of a URL whose value opens something.
_SECRET = re.compile(r"secret|token|passw|credential|signature|^sig$|(account|api|private)_?key", re.IGNORECASE)
_USER_INFO = re.compile(r"(?<=://)[^/\s@'\"]+@")
_QUERY = re.compile(r"(?<=[?&])([^=&\s]+)=([^&\s'\"]+)")
_SHORTEST_SECRET = 8


def refuse_credentials(url: object) -> None:
    """Refuse a URL that carries a password, key or signature: it would end up in logs, provenance and reports.

    Raises
    ------
    ArgumentError
        Without repeating them.

    Examples
    --------
    >>> refuse_credentials("s3://bucket/a.zarr")
    """
    text = os.fspath(url) if isinstance(url, os.PathLike) else url
    if not isinstance(text, str) or "://" not in text:
        return
    signed = any(_SECRET.search(key) for key, _ in parse_qsl(text.partition("?")[2], keep_blank_values=True))
    if signed or _USER_INFO.search(text):
        raise ArgumentError(
            f"{without_secrets(text)} carries credentials, which would be written down with the "
            "sample. Leave them out of the URL and set them in the environment: AWS_ACCESS_KEY_ID ..."
        )


def without_secrets(text: str) -> str:
    """A text in which user names, passwords and signatures of URLs, and the values of secret variables, are stars.

    >>> without_secrets("cannot read https://me:word@host/a?sig=abc&version=2")
    'cannot read https://***@host/a?sig=***&version=2'
    """
    secrets = {v for k, v in os.environ.items() if _SECRET.search(k) and len(v) >= _SHORTEST_SECRET}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    signed = _QUERY.sub(lambda m: f"{m[1]}=***" if _SECRET.search(m[1]) else m[0], text)
    return _USER_INFO.sub("***@", signed)
