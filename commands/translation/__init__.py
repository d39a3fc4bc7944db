"""Shared by the commands that train translators."""
