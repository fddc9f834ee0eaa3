"""Windows of a network over a volume, and how their outputs are joined."""
