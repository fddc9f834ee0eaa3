"""Geodesic distances inside a phase."""
