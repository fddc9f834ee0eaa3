"""Networks that generate volumes: training, export, synthesis."""
