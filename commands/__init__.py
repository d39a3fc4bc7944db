"""What the commands at the root share; it may import every room, and no room imports it."""
