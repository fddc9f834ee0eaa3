"""Output of ``tim3d show``, ``validate``, ``status``, ``doctor`` and ``certificates``, by line."""

from __future__ import annotations

from collections.abc import Iterator

from tim3d.errors import DeviceError, SchemaError


def show(sample: str) -> Iterator[str]:
    """List the content of a sample, one line per node.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    """
    from tim3d.maintenance.validation import ended_by
    from tim3d.storage import scratch, store

    identity = store.open_sample(sample).attrs["tim3d"]
    yield f"{sample} (schema {identity['schema']})"  # type: ignore[index, call-overload]
    for name in store.nodes(sample):
        record = store.node_attributes(sample, name)
        if owner := scratch.owner(name, record):
            again = ended_by(sample, owner, record)
            yield f"  {name}: temporary arrays of a run that has not ended; run again: {again}"
            continue
        content = _field(sample, name) if record.get("kind") == "field" else "dataset"
        yield f"  {name}: {content}; {store.why_outdated(sample, name) or record.get('status', 'not made by tim3d')}"


def _field(sample: str, name: str) -> str:
    from tim3d.storage import store

    field = store.read_field(sample, name)
    edges, size = "x".join(map(str, field.shape)), "x".join(f"{s:g}" for s in field.spacing_nm)
    phases = f", phases {field.phases}" if field.phases else ""
    return (
        f"{edges} {field.dtype}, voxel {size} nm, shard {'x'.join(map(str, field.shard))}{phases}"
    )


def validate(sample: str, *, deep: bool = False, repair: bool = False) -> Iterator[str]:
    """Check a sample against the data model: list its faults, or repair them.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    deep : bool
        Read every shard.
    repair : bool
        Read every shard, and mark everything that is damaged to be computed again.

    Raises
    ------
    SchemaError
        If there are faults; with `repair`, if some cannot be repaired.
    """
    from tim3d.maintenance import validation

    if repair:
        yield from _repair(sample)
        return
    faults = validation.validate(sample, deep=deep)
    yield from map(str, faults)
    if faults:
        raise SchemaError(f"{len(faults)} fault(s) in {sample}")
    yield f"{sample} is a valid sample"


def _repair(sample: str) -> Iterator[str]:
    from tim3d.maintenance.repair import repair

    repairs, faults = repair(sample)
    yield from map(str, [*faults, *repairs])
    if faults:
        raise SchemaError(f"{len(faults)} fault(s) in {sample} cannot be repaired block by block")
    if not repairs:
        yield f"{sample} is a valid sample"


def status(sample: str, *, json: bool = False) -> Iterator[str]:
    """Show the progress of the passes of a sample, the process writing to it, and outdated nodes.

    The outdated nodes are not part of the JSON.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    json : bool
        Print JSON, for machines.
    """
    from tim3d.engine.state.status import status as look

    found = look(sample)
    yield found.as_json() if json else str(found)
    yield from () if json else _outdated(sample)


def _outdated(sample: str) -> Iterator[str]:
    from tim3d.storage import store

    for name in store.nodes(sample) if store.is_sample(sample) else ():
        if why := store.why_outdated(sample, name):
            yield f"{name}: {why}"


def doctor(
    folder: str | None = None, cluster: str | None = None, tls: str | None = None
) -> Iterator[str]:
    """Check this machine: versions, memory, devices, disk, cluster; one line per item.

    Parameters
    ----------
    folder : path, optional
        Folder or URL where samples will lie: space, speed, locks (default: not checked).
    cluster : str, optional
        A dask scheduler that should reply, such as tcp://host:8786 (default: none).
    tls : path, optional
        Folder of the certificates of that scheduler (default: none).

    Raises
    ------
    DeviceError
        If something that is needed is broken or missing.
    """
    from tim3d.maintenance.doctor import doctor as look

    failed = []
    for finding in look(folder, cluster, tls):
        yield str(finding)
        failed += [finding.what] if finding.state == "fail" else []
    if failed:
        raise DeviceError(
            f"not fit: {', '.join(failed)}. Fix the lines marked fail, then run the command again"
        )


def certificates(folder: str, days: int | None = None) -> Iterator[str]:
    """Make the certificates of an encrypted cluster, and show how to use them."""
    from tim3d.engine.clusters import tls

    made = tls.certificates(folder, tls.DAYS if days is None else days)
    yield f"{made} holds a certificate and its key: with both, a process can join the cluster; keep them private"
    files = f"--tls-ca-file {made}/{tls.CERTIFICATE} --tls-cert {made}/{tls.CERTIFICATE} --tls-key {made}/{tls.KEY}"
    yield f"dask scheduler --protocol tls {files}"
    yield f"dask worker tls://HOST:8786 --death-timeout 60 {files}"
    yield f"tim3d run RECIPE --cluster tls://HOST:8786 --tls {made}"
