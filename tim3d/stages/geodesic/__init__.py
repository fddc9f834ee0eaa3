"""Geodesic distances and tortuosity."""
