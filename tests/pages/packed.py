"""Packs the plotting library when imported: processes that are forked later need not do it again."""

from commands.pages.rendering import plotting_library

plotting_library()
