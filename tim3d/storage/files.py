"""File access by path or URL: object stores, errors of the disk and of damaged data, flushing."""

from __future__ import annotations

import contextlib
import datetime
import errno
import filecmp
import functools
import os
import re
import shutil
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec

from tim3d.credentials import refuse_credentials
from tim3d.errors import ArgumentError, InputError, MissingExtraError, StoreError, WriteError

# Part of the message when a write to a sample has failed.
KEPT = "Finished blocks are kept"
LONGEST_NAME = 255  # bytes of a file's name
OBJECT_STORES = ["s3", "gs", "gcs", "az", "abfs"]
# A request that a store refuses (5xx, cut links, timeouts) is tried again for a minute. A wait is
# drawn from 0.1 s to `base` times the last one: with obstore's own base, 2, they hardly grow, and
# all ten are over in 3 s.
RETRIES: dict[str, Any] = {
    "max_retries": 30,
    "retry_timeout": datetime.timedelta(seconds=60),
    "backoff": {"base": 4, "max_backoff": datetime.timedelta(seconds=10)},
}
# The same for a request whose failure is itself the result.
BRIEF: dict[str, Any] = {"max_retries": 2, "retry_timeout": datetime.timedelta(seconds=10)}
# Words in the errors of zarr's codecs for a damaged frame, index or chunk.
_DAMAGED = re.compile("checksum|decompress|corrupt")
_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM}
_CANNOT_WRITE |= {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.EFBIG,
    errno.ENAMETOOLONG,
}


def is_local(url: str) -> bool:
    """Whether a sample lies in the file system rather than behind a URL.

    >>> is_local("a.zarr"), is_local("s3://bucket/a.zarr")
    (True, False)
    """
    return "://" not in url


def absolute(url: str) -> str:
    """Absolute path of a local sample, links followed; the URL of any other.

    >>> absolute("s3://bucket/a.zarr"), absolute("./a.zarr") == absolute("a.zarr")
    ('s3://bucket/a.zarr', True)
    """
    return str(Path(url).resolve()) if is_local(url) else url


def twice(urls: Sequence[str]) -> str:
    """The first that names a place which one before it names too, or "".

    >>> twice(["a.zarr", "b.zarr", "./a.zarr/"]), twice(["a.zarr", "b.zarr"])
    ('./a.zarr/', '')
    """
    places = [absolute(one.rstrip("/")) for one in urls]
    return next((one for n, one in enumerate(urls) if places[n] in places[:n]), "")


def is_there(url: str) -> bool:
    """Whether a file, folder or object has this name."""
    if is_local(url):
        return Path(url).exists()
    fs, path = file_system(url)
    return bool(fs.exists(path))


def read_toml(path: str | Path, what: str) -> dict[str, Any]:
    """Content of a TOML file; `what` begins the message if it holds anything else.

    Raises
    ------
    OSError
        If it cannot be read.
    InputError
        If it is not TOML, not text, or nested or long beyond what can be read.
    """
    data = Path(path).read_bytes()
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # tomllib lets these two through
        raise InputError(f"{what} {path} is not TOML: {error}") from error


@contextlib.contextmanager
def writing(where: str, kept: str = KEPT) -> Iterator[None]:
    """Turn errors such as "read-only" and "disk full" into one `WriteError`.

    The message names the path and what is `kept`.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        raise WriteError(
            f"cannot write to {where}: {os.strerror(error.errno or 0).lower()}. {kept}: "
            "make room or the folder writable, then run the same command again."
        ) from error


def refuse_unwritable(where: str | Path, kept: str = KEPT) -> None:
    """Refuse a path on this machine at which nothing can be written, before anything is computed for it.

    Looked at is the nearest folder that is there; nothing is written. An object store says so when
    its lock is taken.

    Raises
    ------
    WriteError
        If the folder is read-only or its permissions forbid it.
    """
    if not is_local(str(where)):
        return
    place = Path(where).absolute()
    folder = next(one for one in (place, *place.parents) if one.is_dir())
    if os.access(folder, os.W_OK | os.X_OK):
        return
    is_read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
    with writing(str(where), kept):
        raise OSError(errno.EROFS if is_read_only else errno.EACCES, "", str(folder))


@contextlib.contextmanager
def decoding(where: str) -> Iterator[None]:
    """Add the cure to errors about damaged data.

    The error does not become a `Tim3dError`: a run sets the block aside and goes on.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:  # what codecs raise
        if not _DAMAGED.search(str(error)):
            raise
        cure = "Type: tim3d validate SAMPLE --deep --repair"
        raise RuntimeError(
            f"{where} cannot be decoded ({type(error).__name__}: {error}). {cure}"
        ) from error


@contextlib.contextmanager
def reaching() -> Iterator[None]:
    """Turn an object store's error, after all retries, into one `StoreError`."""
    try:
        yield
    except Exception as error:
        if (ours := in_our_words(error)) is error:
            raise
        raise ours from error


def in_our_words(error: Exception) -> Exception:
    """Turn an error of obstore into a `StoreError`, and a name too long into an `ArgumentError`.

    obstore may not be installed. Any other error is returned unchanged.
    """
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        name = max(Path(str(error.filename or "")).parts, key=_length, default="")
        return ArgumentError(
            f"a name of {_length(name)} bytes is too long for a file; most disks take {LONGEST_NAME}: {name[:60]}..."
        )
    if not type(error).__module__.startswith("obstore."):
        return error
    seen = str(error).partition("\n")[0]
    cure = "when tim3d doctor URL finds the store fit, run the same command again"
    return StoreError(f"{seen}. Finished blocks are kept: {cure}")


def _length(name: str) -> int:
    return len(os.fsencode(name))


@functools.cache
def use_object_stores() -> None:
    """Read URLs of S3, Google Cloud or Azure through obstore, if installed, with patient retries.

    Credentials come from the environment only (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL`` ...).
    """
    with contextlib.suppress(ImportError):
        from tim3d.storage.object_store import register

        for name in OBJECT_STORES:
            register(name)
            fsspec.config.conf.setdefault(name, {}).setdefault("retry_config", RETRIES)


def file_system(url: str, *, brief: bool = False) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it.

    With `brief` an object store has 10 s to answer instead of a minute.

    Raises
    ------
    ArgumentError
        If the URL carries credentials.
    MissingExtraError
        If no installed package can open it.
    """
    refuse_credentials(url)
    use_object_stores()
    options = (
        {"retry_config": BRIEF}
        if brief and url.startswith(tuple(f"{name}://" for name in OBJECT_STORES))
        else {}
    )
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(
            str(Path(url).absolute()) if is_local(url) else url, **options
        )
    except (ImportError, ValueError) as error:
        raise MissingExtraError(
            f"cannot reach {url} ({error}). Type: pip install 'tim3d[s3]'"
        ) from error
    return found


def copy_files(source: str, target: str) -> None:
    """All files below a folder once more below another: hard links where the disk has them."""
    if not is_local(source):
        fs, path = file_system(source)
        _, place = file_system(target)
        for one in fs.find(path):
            fs.cp_file(one, f"{place}{one.removeprefix(path)}")
        return
    for one in (one for one in Path(source).rglob("*") if one.is_file()):
        copy = Path(target, one.relative_to(source))
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            copy.hardlink_to(one)
        except OSError:
            shutil.copyfile(one, copy)


def are_copies(source: str, target: str) -> bool:
    """Whether the same files with the same bytes lie below two folders."""
    if not is_local(source):
        fs, path = file_system(source)
        _, place = file_system(target)
        names = [one.removeprefix(path) for one in fs.find(path)]
        if sorted(names) != sorted(one.removeprefix(place) for one in fs.find(place)):
            return False
        return all(fs.cat_file(f"{path}{n}") == fs.cat_file(f"{place}{n}") for n in names)
    files = _files_below(Path(source))
    return files == _files_below(Path(target)) and all(
        Path(source, one).samefile(Path(target, one))
        or filecmp.cmp(Path(source, one), Path(target, one), shallow=False)
        for one in files
    )


def _files_below(folder: Path) -> list[Path]:
    return sorted(one.relative_to(folder) for one in folder.rglob("*") if one.is_file())


def flush(path: Path) -> None:
    """Force a file and its entry in the folder to the disk."""
    for target in (path, path.parent):
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def modified_at(entry: dict[str, Any]) -> float:
    """Time at which an object was written, in seconds since the epoch, from its entry in any file system."""
    when = next(
        (
            entry[key]
            for key in ("mtime", "last_modified", "LastModified", "created")
            if entry.get(key)
        ),
        0.0,
    )
    return float(when.timestamp() if hasattr(when, "timestamp") else when)
