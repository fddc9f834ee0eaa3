"""Networks that segment: training, files, inference."""
