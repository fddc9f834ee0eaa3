"""Which codec for grey values and labels: size, write and read rate of one shard's worth of data.

python -m benchmarks.codecs [FLYEM-SLICES-FOLDER]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zarr
from scipy import ndimage
from zarr.codecs import BloscCodec, BloscShuffle, ZstdCodec

from tim3d.sources import open_source

CODECS = {
    "none": None,
    "zstd 0": ZstdCodec(level=0),
    "zstd 1 + checksum": ZstdCodec(level=1, checksum=True),
    "zstd 3 + checksum": ZstdCodec(level=3, checksum=True),
    "zstd 5 + checksum": ZstdCodec(level=5, checksum=True),
    "blosc lz4": BloscCodec(cname="lz4", clevel=5, shuffle=BloscShuffle.noshuffle),
    "blosc zstd 5 bitshuffle": BloscCodec(cname="zstd", clevel=5, shuffle=BloscShuffle.bitshuffle),
}


def volumes(slices: str | None) -> dict[str, np.ndarray]:
    """Labels of three phases, a noisy grey volume, and a real one where it is at hand."""
    noise = np.random.default_rng(20240).standard_normal((128, 256, 256), dtype=np.float32)
    smooth = ndimage.gaussian_filter(noise, 4.0, mode="wrap")
    labels = np.digitize(smooth, np.quantile(smooth, [0.42, 0.72])).astype(np.uint8)
    grey = np.clip(60 + 50 * labels + 18 * noise, 0, 255).astype(np.uint8)
    real = {} if slices is None else {"FlyEM FIB-SEM": open_source(slices).read(0, 128)}
    return {"labels, 3 phases": labels, "grey, simulated": grey, **real}


def best_of(repeats: int, action: Callable[[], object]) -> float:
    """Shortest wall time in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def measure(voxels: np.ndarray, codec: object) -> tuple[float, float, float]:
    """Compression ratio, and MB/s of writing and reading."""
    with tempfile.TemporaryDirectory() as folder:
        shard = tuple(-(-n // 64) * 64 for n in voxels.shape)
        array = zarr.create_array(
            folder,
            shape=voxels.shape,
            dtype=voxels.dtype,
            chunks=(64, 64, 64),
            shards=shard,
            compressors=codec,
        )  # type: ignore[arg-type]
        write = best_of(3, lambda: array.__setitem__(slice(None), voxels))
        read = best_of(3, lambda: array[:])
        size = sum(p.stat().st_size for p in Path(folder).rglob("c/*/*/*"))
    megabytes = voxels.nbytes / 1e6
    return voxels.nbytes / size, megabytes / write, megabytes / read


def main() -> None:
    for name, voxels in volumes(sys.argv[1] if len(sys.argv) > 1 else None).items():
        shape = "x".join(map(str, voxels.shape))
        print(f"\n| {name}, {shape} uint8 | ratio | write MB/s | read MB/s |\n|---|---|---|---|")
        for codec, value in CODECS.items():
            ratio, write, read = measure(voxels, value)
            print(f"| {codec} | {ratio:.2f} | {write:.0f} | {read:.0f} |")


if __name__ == "__main__":
    main()
