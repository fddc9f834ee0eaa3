"""Grey images: thresholds, superpixels, normalisation, pyramids, a simulated FIB-SEM."""
