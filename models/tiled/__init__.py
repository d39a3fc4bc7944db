"""Exact translation of pictures that do not fit into memory at once."""

from models.tiled.regions import Region, Span
from models.tiled.statistics import StatisticsKind
from models.tiled.storage import Storage
from models.tiled.translation import TiledTranslation, Tiling, check_tile

__all__ = [
    "Region",
    "Span",
    "StatisticsKind",
    "Storage",
    "TiledTranslation",
    "Tiling",
    "check_tile",
]
