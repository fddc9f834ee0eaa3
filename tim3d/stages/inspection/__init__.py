"""Inspection of a stack before it is written: order, sizes, and checks."""
