"""The verbs. A stage binds a kernel to the engine and a field to the store; stages do not import each other."""
