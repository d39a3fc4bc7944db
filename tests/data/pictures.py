"""Small pictures for the tests of this folder."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from data import Content, Pair, decode_pair


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(levels)


def save_noise(folder: Path, names: list[str], width: int = 24, height: int = 20) -> list[Path]:
    """Different pictures under the given names, which are returned as paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in names]
    for path in paths:
        # crc32 and not hash(), which differs from run to run
        noise(width, height, seed=zlib.crc32(str(path.name).encode())).save(path)
    return paths


def read_pair(pair: Pair, source: Content, target: Content) -> tuple[Tensor, Tensor]:
    """Both pictures of a pair in their own size, float32 [C, H, W]."""
    images = decode_pair(pair, source, target)
    return source.to_tensor(images[0]), target.to_tensor(images[1])


def png_16_bit(values: np.ndarray, color_type: int, transparency: bytes = b"") -> bytes:
    """A PNG of uint16 [H, W, channels]; Pillow itself writes only the grey ones."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, color_type, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    if transparency:
        chunks.insert(1, (b"tRNS", transparency))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
