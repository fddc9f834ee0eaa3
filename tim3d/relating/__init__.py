"""Samples as rows of a table, and what explains a property of them."""
