"""Generated volumes compared with micrographs."""
