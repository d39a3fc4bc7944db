"""A folder of pictures, with or without classes, as an endless sequence of items."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from data.batch import ImageBatch, ImageItem, Unreadable, stack_centres, stack_equal
from data.cache import Prepared
from data.content import Content
from data.labels import Labels
from data.loading import EXACTLY, Loader, Loading, Picture
from data.randomness import ShuffledEpochs, generator_for
from data.transforms import Preprocessing
from data.unreadable import UnreadableFiles, report_preview
from errors import UserError


class ImageFolder(Dataset):
    """Item `index` is a pure function of (seed, index), for any index from 0 on.

    An epoch has each file once, in a random order. Crop and flip are drawn for each item.

    A file that cannot be read is replaced by the next readable one of its class, and listed in the
    item. Raises `UserError` if no file of a class can be read, for a picture smaller than the crop,
    and as `Content.decode` does, always with the file's name. Raises ValueError for no file, for
    labels of another number of files, and for label maps, which generators do not produce.
    `loading` says how training pictures are read; previews are always read exactly.
    """

    def __init__(
        self,
        files: Sequence[Path],
        labels: Labels,
        preprocessing: Preprocessing,
        *,
        seed: int,
        content: Content,
        loading: Loading = EXACTLY,
    ):
        if not files or len(files) != len(labels.of_files):
            raise ValueError(
                f"expected a class for each of 1 or more files, got {len(labels.of_files)} for "
                f"{len(files)}"
            )
        if content.kind == "labels":
            raise ValueError("label maps can be sources only")
        self.image_files = list(files)
        self.labels = labels
        self.preprocessing = preprocessing
        self.seed = seed
        self.content = content
        self.epoch_images = len(self.image_files)
        self.file_count = len(set(self.image_files))
        self._of_class: list[list[Path]] = [[] for _ in labels.names or [""]]
        self._place_in_class = []
        for path, label in zip(self.image_files, labels.of_files, strict=True):
            self._place_in_class.append(len(self._of_class[label]))
            self._of_class[label].append(path)
        read = (Picture(path, content) for path in self.image_files)
        self._loader = Loader(preprocessing, loading, read)
        self._exact_loader = Loader(preprocessing, EXACTLY)
        self._unreadable = UnreadableFiles()
        self._order = ShuffledEpochs(seed, self.epoch_images)

    def __getitem__(self, index: int) -> ImageItem:
        """Item number `index`, counted from the start of training."""
        place = self._order.place(index)
        label = self.labels.of_files[place]
        randomness = generator_for(self.seed, index, "image")
        image, unreadable = self._picture(label, self._place_in_class[place], randomness)
        return ImageItem(image, label, unreadable)

    def batch_of(self, items: Sequence[ImageItem], indices: Sequence[int]) -> ImageBatch:
        """One batch of the items with these global indices; `UserError` where sizes differ."""
        return ImageBatch(
            stack_equal(
                [item.image for item in items], lambda place: self.files(indices[place])[0]
            ),
            torch.tensor([item.label for item in items]),
        )

    def files(self, index: int) -> tuple[Path]:
        """The file of an item, before an unreadable one is replaced."""
        return (self.image_files[self._order.place(index)],)

    def preview(self, count: int) -> ImageBatch:
        """The first `count` pictures, cycling through the classes: 0, 1, 2, ..., 0, 1, 2, ...

        Without classes, evenly spread over the list of files. Nothing is random: crops are centred,
        nothing is flipped. A class with fewer pictures repeats them; there are never more pictures
        than in an epoch. If sizes differ (modes without a crop), all are centre-cropped to the
        smallest height and width.
        """
        pictures, labels, found = [], [], []
        shown = min(count, self.epoch_images)
        for number in range(shown):
            turn, label = divmod(number, len(self._of_class))
            if len(self._of_class) == 1:
                turn = number * self.epoch_images // shown
            place = turn % len(self._of_class[label])
            picture, unreadable = self._picture(label, place, None)
            found.extend(unreadable)
            pictures.append(picture)
            labels.append(label)
        report_preview(found)
        return ImageBatch(stack_centres(pictures), torch.tensor(labels))

    def _picture(
        self, label: int, place: int, randomness: np.random.Generator | None
    ) -> tuple[Tensor, Unreadable]:
        """The picture at this position in a class, or the next readable one of the class."""
        noun = f"images of class {self.labels.names[label]}" if self.labels.names else "images"
        loader = self._exact_loader if randomness is None else self._loader

        def load(path: Path) -> Prepared:
            return loader.load([Picture(path, self.content)])[0]

        path, picture, unreadable = self._unreadable.first_readable(
            self._of_class[label], place, lambda path: (path,), load, noun
        )
        try:
            geometry = self.preprocessing.draw(picture.full_size, randomness)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        return self.content.from_planes(geometry.cut(picture.picture)), unreadable
