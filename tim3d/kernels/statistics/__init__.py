"""Correlation functions, representative volumes, and volumes compared with micrographs."""
