"""Corrections of a grey field, as one pass from field to field."""
