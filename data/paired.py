"""Pairs of pictures as an endless sequence of items."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from PIL import Image
from torch.utils.data import Dataset

from data.batch import Item, TranslationBatch, stack_centres, translation_batch
from data.cache import Prepared
from data.content import RGB, Content
from data.loading import EXACTLY, Loader, Loading, Picture
from data.pairs import Pair, Pairs, odd_width
from data.randomness import ShuffledEpochs, generator_for
from data.transforms import Preprocessing
from data.unreadable import UnreadableFiles, report_preview
from errors import UserError


class PairedFiles(Dataset):
    """Item `index` is a pure function of (seed, index), for any index from 0 on.

    An epoch has each training pair once, in a random order. Crop and flip are drawn once for both
    pictures of a pair.

    A pair with a file that cannot be read is replaced by the next readable one, and listed in the
    item. Raises `UserError` if no pair can be read, for a side-by-side picture of odd width,
    unequal sizes within a pair, a picture smaller than the crop, and as `Content.decode` does,
    always with the file's name. Raises ValueError for label maps as targets, which generators do
    not produce. `loading` says how training pictures are read; previews are always read exactly.
    """

    def __init__(
        self,
        pairs: Pairs,
        preprocessing: Preprocessing,
        *,
        seed: int,
        source: Content = RGB,
        target: Content = RGB,
        loading: Loading = EXACTLY,
    ):
        if not pairs.train or not pairs.test:
            raise ValueError("training and test need at least one pair")
        if target.kind == "labels":
            raise ValueError("label maps can be sources only")
        self.pairs = pairs
        self.preprocessing = preprocessing
        self.seed = seed
        self.source = source
        self.target = target
        self.epoch_images = len(pairs.train)
        self.file_count = len({path for pair in pairs.train for path in _paths(pair)})
        read = (picture for pair in pairs.train for picture in _pictures(pair, source, target))
        self._loader = Loader(preprocessing, loading, read)
        self._exact_loader = Loader(preprocessing, EXACTLY)
        self._unreadable = UnreadableFiles()
        self._order = ShuffledEpochs(seed, self.epoch_images)

    def __getitem__(self, index: int) -> Item:
        """Item number `index`, counted from the start of training."""
        return self._item(self.pairs.train, self._order.place(index), index)

    def batch_of(self, items: Sequence[Item], indices: Sequence[int]) -> TranslationBatch:
        """One batch of the items with these global indices; `UserError` where sizes differ."""
        return translation_batch(items, indices, self.files)

    def files(self, index: int) -> tuple[Path, Path]:
        """The source and target file of an item, before any unreadable one is replaced."""
        return _paths(self.pairs.train[self._order.place(index)])

    def preview(self, count: int) -> TranslationBatch:
        """The first `count` test pairs, or all if there are fewer; the same every time.

        No jitter, no flip, crops centred. If sizes differ (modes without a crop), all are
        centre-cropped to the smallest height and width. Returns two float32 [N, C, H, W].
        """
        shown = range(min(count, len(self.pairs.test)))
        items = [self._item(self.pairs.test, place, None) for place in shown]
        report_preview([found for item in items for found in item.unreadable])
        return TranslationBatch(
            stack_centres([item.source for item in items]),
            stack_centres([item.target for item in items]),
        )

    def _item(self, pairs: list[Pair], place: int, index: int | None) -> Item:
        """The pair at `place`, or the next readable one; without an index, nothing is random."""
        pair, (source, target), unreadable = self._unreadable.first_readable(
            pairs, place, _paths, partial(self._load, is_preview=index is None), "pairs"
        )
        randomness = None if index is None else generator_for(self.seed, index, "pair")
        try:
            geometry = self.preprocessing.draw(source.full_size, randomness, index is not None)
        except UserError as error:
            raise UserError(f"{pair.source}: {error}") from error
        tensor = self.source.from_planes(geometry.cut(source.picture))
        if target is source:
            return Item(tensor, tensor, unreadable)
        return Item(tensor, self.target.from_planes(geometry.cut(target.picture)), unreadable)

    def _load(self, pair: Pair, *, is_preview: bool) -> list[Prepared]:
        loader = self._exact_loader if is_preview else self._loader
        loaded = loader.load(_pictures(pair, self.source, self.target), jitter=not is_preview)
        sizes = [prepared.full_size for prepared in loaded]
        if sizes[0] != sizes[1]:
            raise UserError(unequal_sizes(pair, *sizes))
        return loaded


def decode_pair(pair: Pair, source: Content, target: Content) -> tuple[Image.Image, Image.Image]:
    """Both pictures of a pair, of equal size; the same one twice if file and content are the same.

    Raises `UnreadableImageError` for a file that cannot be read, and `UserError` for a
    side-by-side picture of odd width, unequal sizes, and as `Content.decode` does.
    """
    first = decode_source(pair, source)
    same = pair.source == pair.target and source == target and not pair.halves
    second = first if same else decode_target(pair, target)
    if first.size != second.size:
        raise UserError(unequal_sizes(pair, first.size, second.size))
    return first, second


def decode_source(pair: Pair, content: Content) -> Image.Image:
    """Only the source of a pair; raises as `decode_pair` does, except for unequal sizes."""
    image = content.decode(pair.source)
    return _half(image, pair, pair.swapped) if pair.halves else image


def decode_target(pair: Pair, content: Content) -> Image.Image:
    """Only the target of a pair; raises as `decode_pair` does, except for unequal sizes."""
    image = content.decode(pair.target)
    return _half(image, pair, not pair.swapped) if pair.halves else image


def unequal_sizes(pair: Pair, source_size: tuple[int, int], target_size: tuple[int, int]) -> str:
    """The message about a pair of pictures with these widths and heights."""
    sizes = [f"{width}x{height} px" for width, height in (source_size, target_size)]
    return (
        f"{pair.source} ({sizes[0]}) and {pair.target} ({sizes[1]}) are a pair of unequal sizes; "
        "resize one or remove both"
    )


def _half(image: Image.Image, pair: Pair, right: bool) -> Image.Image:
    if image.width % 2:
        raise UserError(odd_width(pair.source, image.width))
    half = image.width // 2
    return image.crop((half, 0, image.width, image.height) if right else (0, 0, half, image.height))


def _pictures(pair: Pair, source: Content, target: Content) -> tuple[Picture, Picture]:
    halves = (None, None)
    if pair.halves:
        halves = ("right", "left") if pair.swapped else ("left", "right")
    return Picture(pair.source, source, halves[0]), Picture(pair.target, target, halves[1])


def _paths(pair: Pair) -> tuple[Path, Path]:
    return pair.source, pair.target
