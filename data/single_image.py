"""SinCUT's data: patches of one picture per side."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from data.batch import Item, TranslationBatch, translation_batch
from data.decode import UnreadableImageError, decode_image
from data.pixels import to_tensor
from data.randomness import generator_for
from data.transforms import check_crop_size, resized, rounded_size
from errors import UserError

_SIZE_MULTIPLE = 4
_PREVIEW_LONG_SIDE_PX = 256


class SingleImagePatches(Dataset):
    """Item `index` is a patch of each picture, crop_size x crop_size, for any index from 0 on.

    All items of one global batch (index // batch_size) share, independently for each side:

    - a zoom, uniform in [1/zoom_range, 1] for each axis; the picture is resized (bilinear) to
      max(crop_size, round(side * zoom));
    - a grid of crop_size cells, with one random offset within the pixels that are left over;
    - a random order of the cells, so that none is repeated before all have been used.

    With `flip` each patch is mirrored with probability 1/2. This is what the comments in the
    authors' program describe (Park et al. 2020, SinCUT); its shuffled loader mixes zooms and
    repeats cells.

    epoch_images: items per epoch; batch_size: the global batch size. Raises `UserError` unless
    there is one readable picture per side, zoom_range >= 1, and crop_size is a multiple of 4.
    """

    def __init__(
        self,
        source_files: Sequence[Path],
        target_files: Sequence[Path],
        *,
        crop_size: int,
        batch_size: int,
        seed: int,
        flip: bool = True,
        zoom_range: float = 3.0,
        epoch_images: int = 100_000,
    ):
        check_crop_size(crop_size, _SIZE_MULTIPLE)
        if not zoom_range >= 1:
            raise UserError(f"zoom_range {zoom_range}: below 1; give 1 (no zoom) or more")
        self.epoch_images = epoch_images
        self.batch_size = batch_size
        self.file_count = len({*source_files, *target_files})
        sides = (("source", source_files), ("target", target_files))
        self._source, self._target = (
            _Side(name, files, crop_size, seed, flip, zoom_range) for name, files in sides
        )

    def __getitem__(self, index: int) -> Item:
        """Item number `index`, counted from the start of training."""
        batch, place = divmod(index, self.batch_size)
        return Item(
            self._source.patch(batch, place, index), self._target.patch(batch, place, index), ()
        )

    def batch_of(self, items: Sequence[Item], indices: Sequence[int]) -> TranslationBatch:
        """One batch of the items with these global indices; `UserError` where sizes differ."""
        return translation_batch(items, indices, self.files)

    def files(self, index: int) -> tuple[Path, Path]:
        """The source and the target file; the same for every index."""
        return self._source.path, self._target.path

    def preview(self, count: int) -> TranslationBatch:
        """Each whole picture, shrunk to a long side of at most 256 px: [1, 3, H, W].

        Height and width are rounded to multiples of 4. There is one picture per side whatever
        `count` is, and the two may differ in size.
        """
        return TranslationBatch(self._source.whole()[None], self._target.whole()[None])


class _Zoomed(NamedTuple):
    """What the items of one batch share."""

    batch: int
    image: Image.Image
    corners: list[tuple[int, int]]  # left and top of each cell, in random order


class _Side:
    """One picture, its random draws, and its zoomed version for the current batch."""

    def __init__(
        self,
        name: str,
        files: Sequence[Path],
        crop_size: int,
        seed: int,
        flip: bool,
        zoom_range: float,
    ):
        if len(files) != 1:
            raise UserError(
                f"`dataroot` or `{name}_dir`: {len(files)} {name} images where training on single "
                "images takes 1; leave one image in the folder"
            )
        self.path = files[0]
        try:
            self._image = decode_image(self.path)
        except UnreadableImageError as error:
            raise UserError(f"{error}; repair or replace this {name} image") from error
        self._name = name
        self._crop_size = crop_size
        self._seed = seed
        self._flip = flip
        self._zoom_range = zoom_range
        self._current: _Zoomed | None = None

    def patch(self, batch: int, place: int, index: int) -> Tensor:
        """Cell number `place` of a batch's random order: float32 [3, crop, crop] in [-1, 1]."""
        if self._current is None or self._current.batch != batch:
            self._current = self._zoomed(batch)
        left, top = self._current.corners[place % len(self._current.corners)]
        cell = (left, top, left + self._crop_size, top + self._crop_size)
        patch = self._current.image.crop(cell)
        mirror = generator_for(self._seed, index, f"{self._name} mirror")
        if self._flip and mirror.random() < 0.5:
            patch = patch.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return to_tensor(patch)

    def whole(self) -> Tensor:
        image = self._image
        shrink = min(1.0, _PREVIEW_LONG_SIDE_PX / max(image.size))
        width, height = (max(1, round(side * shrink)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        rounded = rounded_size(image.size, _SIZE_MULTIPLE)
        return to_tensor(resized(image, rounded, Image.Resampling.BICUBIC))

    def _zoomed(self, batch: int) -> _Zoomed:
        randomness = generator_for(self._seed, batch, f"{self._name} zoom")
        zooms = randomness.uniform(1 / self._zoom_range, 1, size=2)
        width, height = (
            max(self._crop_size, round(float(side * zoom)))
            for side, zoom in zip(self._image.size, zooms, strict=True)
        )
        image = self._image.resize((width, height), Image.Resampling.BILINEAR)
        return _Zoomed(batch, image, self._shuffled_corners(width, height, randomness))

    def _shuffled_corners(
        self, width: int, height: int, randomness: np.random.Generator
    ) -> list[tuple[int, int]]:
        size = self._crop_size
        columns, rows = width // size, height // size
        offset_x = int(randomness.integers(width - columns * size + 1))
        offset_y = int(randomness.integers(height - rows * size + 1))
        corners = [
            (offset_x + column * size, offset_y + row * size)
            for row in range(rows)
            for column in range(columns)
        ]
        return [corners[cell] for cell in randomness.permutation(len(corners))]
