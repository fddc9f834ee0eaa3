"""Pure functions on arrays: no files, no blocks, no scheduler."""
