"""What all verbs share: how fields and results are planned, made, kept and read back."""
