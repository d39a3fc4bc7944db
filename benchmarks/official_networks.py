"""What the official CycleGAN and pix2pix share: their PatchGAN and their initial weights.

Part of the two baselines (official_cyclegan.py, official_pix2pix.py), reimplemented like
official_cut.py: layer numbers and parameter names are the official ones, and nothing is imported
from outside this folder's baselines. What is slow here is meant to stay slow.
"""

import torch
from torch import Tensor, nn

from benchmarks.official_cut import NormLayer

INIT_STD = 0.02


class PatchDiscriminator(nn.Module):
    """The PatchGAN with 3 layers and strides; `bias` is that of the convolutions before a norm."""

    def __init__(self, inputs: int, ndf: int, norm_layer: NormLayer, *, bias: bool):
        super().__init__()

        def stage(width: int, outputs: int, stride: int) -> list[nn.Module]:
            conv = nn.Conv2d(width, outputs, 4, stride=stride, padding=1, bias=bias)
            return [conv, norm_layer(outputs), nn.LeakyReLU(0.2, inplace=True)]

        self.model = nn.Sequential(
            nn.Conv2d(inputs, ndf, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            *stage(ndf, 2 * ndf, stride=2),
            *stage(2 * ndf, 4 * ndf, stride=2),
            *stage(4 * ndf, 8 * ndf, stride=1),
            nn.Conv2d(8 * ndf, 1, 4, padding=1),
        )

    def forward(self, image: Tensor) -> Tensor:
        """[N, inputs, H, W] -> a map of logits [N, 1, h, w]."""
        return self.model(image)


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw convolutions from N(0, 0.02) and batch norm's scales from N(1, 0.02); biases are 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, INIT_STD, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, INIT_STD, generator=generator)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
