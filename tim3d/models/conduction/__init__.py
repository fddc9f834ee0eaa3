"""The flux solver's kernels on tensors, for GPUs."""
