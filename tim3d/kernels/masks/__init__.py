"""Masks of single images: prompts from the structure, sets of masks, and label maps of them."""
