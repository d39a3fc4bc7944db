"""Packs the plotting library when imported, for all processes that are forked later."""

from commands.pages.rendering import plotting_library

plotting_library()
