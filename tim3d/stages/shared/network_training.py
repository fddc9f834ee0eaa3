"""Training of a network of slices or volumes into a file, whatever its slices come from."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tim3d.errors import MixedRunError
from tim3d.models.segmentation import checkpoint
from tim3d.models.segmentation.families import NetworkSpec
from tim3d.models.segmentation.first_weights import FirstWeights, first_key, first_record
from tim3d.models.segmentation.training_options import TrainingOptions

if TYPE_CHECKING:
    from tim3d.models.segmentation.training import UNetTraining

log = logging.getLogger(__name__)
Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class NetworkTraining:
    """The network to train, its options, and the file to write."""

    spec: NetworkSpec
    options: TrainingOptions
    target: Path
    overwrite: bool
    first: FirstWeights | None = None

    @property
    def is_new(self) -> bool:
        """Whether the file is to be written whatever is there."""
        return self.overwrite or not self.target.exists()

    def is_trained(self, data_sha256: str, spacing_nm: Spacing, folds: int = 0) -> bool:
        """Whether the file already holds this training.

        Raises
        ------
        MixedRunError
            If it holds another one.
        """
        if self.is_new:
            return False
        from tim3d.models.segmentation.training import (
            deciding,  # torch takes seconds to load, and not every plan needs it
        )

        about = checkpoint.describe(self.target)
        asked: dict[str, Any] = {"options": deciding(self.options), "data_sha256": data_sha256}
        asked |= {"folds": folds} if folds else {}
        now: dict[str, Any] = json.loads(json.dumps(asked | first_key(first_record(self.first))))
        before = {key: about.training.get(key) for key in asked} | first_key(about.training)
        if about.spec == self.spec and before == now and about.spacing_nm == spacing_nm:
            return True
        raise MixedRunError(
            f"{self.target} holds another training. Replace it with --overwrite, or write to another file"
        )

    def carry_out(self, training: UNetTraining, progress: bool) -> None:
        """Train, and write the best epoch."""
        from tim3d.stages.shared.training import bar, writing_alone

        if self.first:
            log.info("%s", self.first)
        state = Path(f"{self.target}.state")
        with (
            writing_alone(self.target, state, self.overwrite),
            bar(training.schedule, progress, ("loss", "val_iou")) as show,
        ):
            run = training.carry_out(self.target, show)
        if run.place.rank == 0:
            text = "trained %d epochs, best validation IoU %.4f in epoch %d"
            log.info(text, run.done, run.best["val_iou"], run.best["epoch"])
