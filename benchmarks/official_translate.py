"""The official test.py of CycleGAN and pix2pix, reimplemented: the baseline of translating.

Imports nothing of this repository. As `test.py --model test
--dataset_mode single --num_test N` of pytorch-CycleGAN-and-pix2pix does, one process reads a
picture, translates it and writes it before it takes the next one:

- a DataLoader without workers (test.py sets num_threads 0) with batches of one picture;
- Pillow's decoding, torchvision's Resize to load_size, which test.py sets to crop_size, RandomCrop,
  ToTensor and Normalize;
- the network in float32 and NCHW order under `torch.no_grad`, with all of PyTorch's threads;
- the real and the translated picture as arrays, written as PNG with Pillow's defaults
  (`save_images` writes every picture of `get_current_visuals`).

Left out, in favour of the baseline: the web page, and printing the path of every fifth picture.
"""

from pathlib import Path

import numpy as np
import torch
import torchvision.transforms as official
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset


class SingleDataset(Dataset):
    """The pictures of a folder, resized and cropped to squares."""

    def __init__(self, folder: Path, crop_size: int):
        self.paths = sorted(str(path) for path in folder.iterdir())
        self.transform = official.Compose(
            [
                official.Resize([crop_size, crop_size], official.InterpolationMode.BICUBIC),
                official.RandomCrop(crop_size),
                official.ToTensor(),
                official.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Tensor | str]:
        path = self.paths[index]
        return {"A": self.transform(Image.open(path).convert("RGB")), "A_paths": path}


def tensor2im(picture: Tensor) -> np.ndarray:
    """Return a picture [1, 3, H, W] in [-1, 1] as uint8 [H, W, 3], truncated as officially."""
    levels = picture.data[0].cpu().float().numpy()
    levels = (np.transpose(levels, (1, 2, 0)) + 1) / 2.0 * 255.0
    return levels.astype(np.uint8)


def run(network: nn.Module, folder: Path, output: Path, crop_size: int, device: str) -> None:
    """Translate the pictures of a folder."""
    output.mkdir(parents=True, exist_ok=True)
    loader = DataLoader(SingleDataset(folder, crop_size), batch_size=1, num_workers=0)
    for item in loader:
        real = item["A"].to(device)
        with torch.no_grad():
            fake = network(real)
        name = Path(item["A_paths"][0]).stem
        for label, picture in (("real", real), ("fake", fake)):
            Image.fromarray(tensor2im(picture)).save(output / f"{name}_{label}.png")
