"""Files on disk -> typed batches of pictures."""

from data.batch import TranslationBatch
from data.decode import UnreadableImageError, decode_image
from data.files import IMAGE_EXTENSIONS, Domains, find_domains, fingerprint, list_images
from data.item import Item, TranslationDataset
from data.pixels import to_image, to_tensor
from data.pocket import render_scene, write_pocket
from data.preflight import check_sizes
from data.randomness import generator_for
from data.single_image import SingleImagePatches
from data.stream import Stream
from data.transforms import Preprocessing
from data.unpaired import UnpairedFolders

__all__ = [
    "IMAGE_EXTENSIONS",
    "Domains",
    "Item",
    "Preprocessing",
    "SingleImagePatches",
    "Stream",
    "TranslationBatch",
    "TranslationDataset",
    "UnpairedFolders",
    "UnreadableImageError",
    "check_sizes",
    "decode_image",
    "find_domains",
    "fingerprint",
    "generator_for",
    "list_images",
    "render_scene",
    "to_image",
    "to_tensor",
    "write_pocket",
]
