"""A training of one's own: a value with four methods, and what it starts."""

import copy
import hashlib
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest

import tim3d
from tests.micrographs import blobs

torch = pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
from torch.nn.functional import cross_entropy, mse_loss  # noqa: E402

from tim3d.models.common.training_run import Verdict  # noqa: E402
from tim3d.models.segmentation.checkpoint import Description, Normalisation, save  # noqa: E402
from tim3d.models.segmentation.unet import UNetSpec, build  # noqa: E402

SPEC = UNetSpec(classes=("pore", "solid"), encoder="mobilenet_v2", depth=2, decoder_channels=(8, 4))


@dataclass(frozen=True)
class MeanTeacher:
    """A U-Net for few labels: one slice has them, and on all others it learns from its own running mean."""

    grey: np.ndarray
    labels: np.ndarray
    spec: UNetSpec = SPEC
    seed: int = 0

    def key(self):
        return {
            "data": hashlib.sha256(self.grey.tobytes() + self.labels.tobytes()).hexdigest(),
            **asdict(self.spec),
        }

    def start(self, place):
        return Student(self, place.device)

    def save(self, path, run):
        scale = Normalisation("volume", (float(self.grey.mean()),), (float(self.grey.std()),))
        save(path, run.chosen(), Description(self.spec, scale, (10.0, 10.0, 10.0), run.summary()))


class Student:
    def __init__(self, training, device):
        self.net = build(training.spec).to(device)
        self.product = copy.deepcopy(self.net)  # the teacher: it is judged, and saved
        self.adam = torch.optim.Adam(self.net.parameters(), lr=5e-3)
        normal = (training.grey - training.grey.mean()) / training.grey.std()
        self.images = torch.from_numpy(normal.astype(np.float32))[:, None].to(device)
        self.labels = torch.from_numpy(training.labels.astype(np.int64))[None].to(device)

    def parts(self):
        return {"net": self.net, "teacher": self.product, "adam": self.adam}

    def step(self, number, rng):
        image = self.images[[rng.integers(1, len(self.images))]]
        loss = cross_entropy(self.net.train()(self.images[:1]), self.labels)
        with torch.no_grad():
            taught = self.product.train()(image)
        loss = loss + 0.1 * mse_loss(self.net(image + 0.1 * torch.randn_like(image)), taught)
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        for mean, now in zip(
            self.product.state_dict().values(), self.net.state_dict().values(), strict=True
        ):
            mean.copy_(mean + 0.3 * (now - mean))
        return {"loss": loss.item()}

    def judge(self):
        with torch.no_grad():
            error = cross_entropy(self.product.eval()(self.images[:1]), self.labels).item()
        return Verdict(error, {"error": error})


def volume() -> tuple[np.ndarray, np.ndarray]:
    labels = np.stack([blobs(48, 1.5, seed=z) for z in range(6)]).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 40, labels.shape)
    return (60 + 120 * labels + noise).astype(np.uint8), labels


def trained(path: Path, steps: int = 24, **named) -> Path:
    grey, labels = volume()
    asked = {"every": 4, "device": "cpu", "threads": 1, "progress": False} | named
    return tim3d.run_training(MeanTeacher(grey, labels[0]), path, steps=steps, **asked)


KILLED = """
import os, signal, sys
from tests.extend.test_training import trained
trained(sys.argv[1], on_look=lambda run: run.done == 12 and os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.mark.long
def test_it_is_killed_and_resumed_to_the_bit_and_its_network_segments(tmp_path: Path) -> None:
    whole, cut = trained(tmp_path / "whole.safetensors"), tmp_path / "cut.safetensors"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(cut)], cwd=Path(__file__).parents[2], check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert trained(cut).read_bytes() == whole.read_bytes()
    grey, labels = volume()
    np.save(tmp_path / "grey.npy", grey)
    sample, options = str(tmp_path / "a.zarr"), tim3d.Options(progress=False)
    tim3d.ingest(
        tmp_path / "grey.npy", sample, voxel_size={"z": 10, "y": 10, "x": 10}, options=options
    )
    found = tim3d.segment(sample, model=cut, device="cpu", options=options)
    assert (found.values == labels).mean() > 0.8
