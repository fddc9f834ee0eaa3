"""Synthetic structures from random numbers that are functions of the position."""
