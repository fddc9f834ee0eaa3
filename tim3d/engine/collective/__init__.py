"""Work that all workers do at the same time, exchanging planes of arrays directly."""
