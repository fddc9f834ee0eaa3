"""Shared by all verbs: how fields and results are planned, made, kept and read back."""
