"""Promptable networks: masks of what points and boxes show, in single images."""
