"""Representative volumes: a value against the size of the window."""
