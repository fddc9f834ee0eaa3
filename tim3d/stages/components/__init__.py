"""Connected components of phases."""
