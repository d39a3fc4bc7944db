"""What the commands that train translators share."""
