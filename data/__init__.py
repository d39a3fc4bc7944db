"""Files on disk -> typed batches of pictures."""

from data.batch import (
    EndlessDataset,
    ImageBatch,
    ImageItem,
    Item,
    TranslationBatch,
    TranslationDataset,
)
from data.content import MOST_CLASSES, RGB, Content, contents_of, label_colours
from data.decode import UnreadableImageError, decode_image, decode_plainly, header_size
from data.files import (
    IMAGE_EXTENSIONS,
    Domains,
    find_domains,
    fingerprint,
    list_images,
    names_below,
)
from data.finding import Finding, plural
from data.glance import Side, are_side_by_side, glance
from data.images import ImageFolder
from data.labels import Labels, read_labels
from data.loading import Loading
from data.paired import PairedFiles, decode_pair
from data.pairs import Pair, Pairs, find_pairs, find_pictures
from data.pixels import from_levels, to_image, to_levels, to_tensor
from data.pocket import REGIONS, render_scene, write_pocket
from data.pocket_film import SOUND_RATE_HZ, DrawnFilm, draw_film, tone
from data.pocket_pairs import render_labelled_scene, write_pocket_pairs
from data.pocket_shapes import SHAPES, render_shape, write_shapes
from data.preflight import check_pairs, check_sizes
from data.randomness import generator_for
from data.reading import (
    Decode,
    ReadImage,
    content_pixels,
    label_mistake,
    plain_levels,
    prepared_levels,
    read_images,
    source_of_pair,
    target_of_pair,
    viewed_levels,
)
from data.single_image import SingleImagePatches
from data.stream import Stream
from data.transforms import Geometry, Preprocessing
from data.unpaired import UnpairedFolders

__all__ = [
    "IMAGE_EXTENSIONS",
    "MOST_CLASSES",
    "REGIONS",
    "RGB",
    "SHAPES",
    "SOUND_RATE_HZ",
    "Content",
    "Decode",
    "DrawnFilm",
    "Domains",
    "EndlessDataset",
    "Finding",
    "Geometry",
    "ImageBatch",
    "ImageFolder",
    "ImageItem",
    "Item",
    "Labels",
    "Loading",
    "Pair",
    "PairedFiles",
    "Pairs",
    "Preprocessing",
    "ReadImage",
    "Side",
    "SingleImagePatches",
    "Stream",
    "TranslationBatch",
    "TranslationDataset",
    "UnpairedFolders",
    "UnreadableImageError",
    "are_side_by_side",
    "check_pairs",
    "check_sizes",
    "content_pixels",
    "contents_of",
    "decode_image",
    "decode_pair",
    "decode_plainly",
    "draw_film",
    "find_domains",
    "find_pairs",
    "find_pictures",
    "fingerprint",
    "from_levels",
    "generator_for",
    "glance",
    "header_size",
    "label_colours",
    "label_mistake",
    "list_images",
    "names_below",
    "plain_levels",
    "plural",
    "prepared_levels",
    "read_images",
    "read_labels",
    "render_labelled_scene",
    "render_scene",
    "render_shape",
    "source_of_pair",
    "target_of_pair",
    "to_image",
    "to_levels",
    "to_tensor",
    "tone",
    "viewed_levels",
    "write_pocket",
    "write_pocket_pairs",
    "write_shapes",
]
