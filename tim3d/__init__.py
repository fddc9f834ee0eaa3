"""tim3d: FIB-SEM stacks to numbers that can be trusted."""
