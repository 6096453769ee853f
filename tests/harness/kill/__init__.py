"""Killing the process at any instruction, and what the world saw of it."""
