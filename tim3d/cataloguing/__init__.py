"""Libraries of generators: what they hold, how it is trained, and how it is judged."""
