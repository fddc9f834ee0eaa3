"""Shared parts of all networks: files of weights, determinism, training in several processes."""
