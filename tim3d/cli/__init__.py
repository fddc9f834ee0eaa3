"""The command line and recipes: typed arguments become calls of the verbs."""
