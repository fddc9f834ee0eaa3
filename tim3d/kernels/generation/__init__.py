"""Structures from random numbers that depend on the place alone."""
