"""Networks and their checkpoints; the only place that imports torch."""
