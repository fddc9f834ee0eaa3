"""Generated and simulated volumes, and the training of generators."""
