"""What all networks share: files of weights, determinism, several processes."""
