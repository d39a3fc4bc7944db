"""Shared code of the commands at the root; it may import every room, and no room imports it."""
