"""The command line and recipes: what is typed becomes calls of the verbs."""
