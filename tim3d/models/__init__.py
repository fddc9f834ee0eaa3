"""Networks and their checkpoints; the only place that imports torch."""

from tim3d.models.torchvision_shim import import_torchvision

# Whichever module here is imported first, segmentation-models-pytorch finds a torchvision that imports.
import_torchvision()
