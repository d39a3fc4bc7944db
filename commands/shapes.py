"""A small classifier of drawn shapes, to check whether samples show the class asked for."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import data
import training
from models.initialization import initialize

SMALLEST_PX = 16
SEED = 20_000  # of the classifier's own drawings, far from the seeds of data sets
TRAINED_ON, HELD_OUT = 2048, 1024
EPOCHS, BATCH, LEARNING_RATE = 8, 64, 4e-3
IMAGES_A_PASS = 256


class Classifier(NamedTuple):
    """A trained network, and its accuracy on drawn shapes that it was not trained on."""

    network: Callable[[Tensor], Tensor]  # silhouettes [B, 1, S, S] -> logits [B, 4]
    accuracy: float  # in [0, 1]

    def recognize(self, images: Tensor) -> Tensor:
        """Return the class of images [N, 3, S, S] in [-1, 1]: indices into SHAPES, int64 [N]."""
        return _recognized(self.network, silhouettes(images))


def silhouettes(images: Tensor) -> Tensor:
    """Return how far each pixel's brightness is from the background's, in [0, 1].

    Brightness is the largest of the three channels. The drawn shapes and their backgrounds differ
    in it whatever their colours are; the mean over the picture's border is the background's.
    images: [B, 3, S, S] -> [B, 1, S, S], with maximum 1 unless the picture is of one brightness.
    """
    value = images.amax(1, keepdim=True)
    border = torch.cat([value[..., 0, :], value[..., -1, :], value[..., 0], value[..., -1]], 2)
    distance = (value - border.mean(2)[..., None, None]).abs()
    return distance / distance.amax((2, 3), keepdim=True).clamp(min=1e-3)


def train_classifier(
    size_px: int, trained_on: int = TRAINED_ON, held_out: int = HELD_OUT
) -> Classifier:
    """Train a network to recognize drawn shapes of `size_px` pixels, in seconds on one core.

    Drawings and weights are those of a fixed seed.
    """
    inputs, labels = drawings(trained_on + held_out, size_px)
    random = training.generator_for(torch.device("cpu"), SEED, 0, "classifier of shapes")
    network = initialize(_network(), random, "kaiming")
    optimizer = training.adam(network, LEARNING_RATE, (0.9, 0.999))
    steps = EPOCHS * max(1, trained_on // BATCH)
    for step in range(steps):
        rate = training.anneal(step, LEARNING_RATE, 0.0, over_images=steps, shape="linear")
        training.set_learning_rate(optimizer, rate)
        chosen = torch.randint(trained_on, (BATCH,), generator=random)
        mirrored = torch.rand(BATCH, 1, 1, 1, generator=random) < 0.5
        shown = torch.where(mirrored, inputs[chosen].flip(3), inputs[chosen])
        F.cross_entropy(network(shown), labels[chosen]).backward()
        training.optimizer_step(network, optimizer)
    network.eval()
    right = _recognized(network, inputs[trained_on:]) == labels[trained_on:]
    return Classifier(network, right.float().mean().item())


def drawings(count: int, size_px: int, seed: int = SEED) -> tuple[Tensor, Tensor]:
    """Return the silhouettes of drawn shapes [count, 1, S, S] and their classes, int64 [count]."""
    drawn = [data.render_shape(seed, index, size_px) for index in range(count)]
    images = torch.stack([torch.from_numpy(picture) for picture in drawn]).permute(0, 3, 1, 2)
    return silhouettes(images / 127.5 - 1), torch.arange(count) % len(data.SHAPES)


def _network() -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in ((1, 16), (16, 32), (32, 32)):
        layers += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(32 * 4**2, len(data.SHAPES))
    )


@torch.no_grad()
def _recognized(network: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    return torch.cat([network(part).argmax(1) for part in inputs.split(IMAGES_A_PASS)])
