"""Two unpaired folders of pictures as an endless sequence of items."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from data.batch import Item, TranslationBatch, stack_centres, translation_batch
from data.cache import Prepared
from data.content import RGB
from data.loading import EXACTLY, Loader, Loading, Picture
from data.randomness import ShuffledEpochs, generator_for
from data.transforms import Preprocessing
from data.unreadable import UnreadableFiles, report_preview
from errors import UserError


class UnpairedFolders(Dataset):
    """Item `index` is a pure function of (seed, index), for any index from 0 on.

    An epoch has max(len(source), len(target)) items. Within an epoch the sources come in a random
    order (of position mod len(source)), each once if the sources are the larger side. The target
    is drawn uniformly and independently for each item. Crop and flip are drawn independently for
    the two pictures.

    From index `jitter_until_images` on, crop_size replaces load_size (CUT's late training); None:
    never.

    A file that cannot be read is replaced by the next readable one of its list, and listed in the
    item. Raises `UserError` if no file of a side can be read, and for a picture smaller than the
    crop, with its file's name. `loading` says how training pictures are read; previews are always
    read exactly.
    """

    def __init__(
        self,
        source_files: Sequence[Path],
        target_files: Sequence[Path],
        preprocessing: Preprocessing,
        *,
        seed: int,
        jitter_until_images: int | None = None,
        loading: Loading = EXACTLY,
    ):
        if not source_files or not target_files:
            raise ValueError("both domains need at least one file")
        self.source_files = list(source_files)
        self.target_files = list(target_files)
        self.preprocessing = preprocessing
        self.seed = seed
        self.jitter_until_images = jitter_until_images
        self.epoch_images = max(len(self.source_files), len(self.target_files))
        self.file_count = len({*self.source_files, *self.target_files})
        read = (Picture(path) for path in (*self.source_files, *self.target_files))
        self._loader = Loader(preprocessing, loading, read)
        self._exact_loader = Loader(preprocessing, EXACTLY)
        self._unreadable = UnreadableFiles()
        self._order = ShuffledEpochs(seed, self.epoch_images)

    def __getitem__(self, index: int) -> Item:
        """Item number `index`, counted from the start of training."""
        jitter = self.jitter_until_images is None or index < self.jitter_until_images
        source_place, target_place = self._places(index)
        source, bad_sources = self._picture(
            self.source_files, source_place, generator_for(self.seed, index, "source"), jitter
        )
        target, bad_targets = self._picture(
            self.target_files, target_place, generator_for(self.seed, index, "target"), jitter
        )
        return Item(source, target, bad_sources + bad_targets)

    def batch_of(self, items: Sequence[Item], indices: Sequence[int]) -> TranslationBatch:
        """One batch of the items with these global indices; `UserError` where sizes differ."""
        return translation_batch(items, indices, self.files)

    def files(self, index: int) -> tuple[Path, Path]:
        """The source and target file of an item, before any unreadable one is replaced."""
        source_place, target_place = self._places(index)
        return self.source_files[source_place], self.target_files[target_place]

    def preview(self, count: int) -> TranslationBatch:
        """The first `count` pictures of each side, the same every time.

        No jitter, no flip, crops centred. If sizes differ (modes without a crop), each side is
        centre-cropped to its smallest height and width. The smaller side repeats; there are never
        more pictures than in an epoch. Returns two float32 [count, 3, H, W].
        """
        places = range(min(count, self.epoch_images))
        sides = []
        for files in (self.source_files, self.target_files):
            pictures = [self._picture(files, place % len(files), None, False) for place in places]
            report_preview([found for _, bad in pictures for found in bad])
            sides.append(stack_centres([tensor for tensor, _ in pictures]))
        return TranslationBatch(*sides)

    def _places(self, index: int) -> tuple[int, int]:
        source_place = self._order.place(index) % len(self.source_files)
        target_draw = generator_for(self.seed, index, "target file")
        return source_place, int(target_draw.integers(len(self.target_files)))

    def _picture(
        self,
        files: list[Path],
        place: int,
        randomness: np.random.Generator | None,
        jitter: bool,
    ) -> tuple[Tensor, tuple[tuple[Path, str], ...]]:
        loader = self._exact_loader if randomness is None else self._loader

        def load(path: Path) -> Prepared:
            return loader.load([Picture(path)], jitter)[0]

        path, picture, bad = self._unreadable.first_readable(
            files, place, lambda path: (path,), load, "images"
        )
        try:
            geometry = self.preprocessing.draw(picture.full_size, randomness, jitter)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        return RGB.from_planes(geometry.cut(picture.picture)), bad
