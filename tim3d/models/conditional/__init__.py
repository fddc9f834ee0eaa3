"""Conditional adversarial networks of images: generators of bounded reach, critics, trainings."""
