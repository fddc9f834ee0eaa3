"""Object stores through obstore, with two kinds of range reads that zarr needs within a shard.

obstore's fsspec layer lacks both.
"""

from __future__ import annotations

from typing import Any

import fsspec
from obstore.fsspec import FsspecStore

# Azure does not serve ranges that are counted from the end.
WITHOUT_SUFFIX = ("az", "abfs")


class ObjectStore(FsspecStore):
    """Objects as files: read whole, between two bytes, from one byte on, or the last bytes."""

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **more: Any
    ) -> bytes:
        if start is not None and end is None:
            return await self._open_ended(path, start)
        return bytes(
            await super()._cat_file(
                path, 0 if start is None and end is not None else start, end, **more
            )
        )

    async def _open_ended(self, path: str, start: int) -> bytes:
        """Return everything from byte `start` on; a negative `start` counts from the end."""
        bucket, name = self._split_path(path)
        if start < 0 and self.protocol in WITHOUT_SUFFIX:
            start = max(0, (await self._info(path))["size"] + start)
        wanted: Any = {"suffix": -start} if start < 0 else {"offset": start}
        reply = await self._construct_store(bucket).get_async(name, options={"range": wanted})
        return (await reply.bytes_async()).to_bytes()


def register(protocol: str) -> None:
    """Let fsspec, and so zarr, use this class for URLs of a protocol."""
    named = type(
        f"ObjectStore_{protocol}", (ObjectStore,), {"protocol": protocol, "asynchronous": False}
    )
    fsspec.register_implementation(protocol, named, clobber=True)
