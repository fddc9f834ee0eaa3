"""Networks that make rendered grey values look like those of a microscope."""
