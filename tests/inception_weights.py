"""FID's Inception network in tests: random weights, read once, and smaller pictures.

The features are of order 1, as those of the real weights.
"""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

import metrics
from commands import extractors
from metrics import protocols


def write_inception_weights(path: Path) -> None:
    """Write a state dict under torchvision's names.

    The norms' statistics are those of six smooth random pictures: without them features would
    be near 1e-8 at the last layer, and every distance 0.
    """
    import torchvision  # for seconds, which most tests need not wait

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = torchvision.models.inception_v3(
            num_classes=1008, aux_logits=False, weights=None, init_weights=False
        )
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.constant_(module.weight, 0.5)
                nn.init.normal_(module.bias, 0.5, 0.1)
                module.momentum = None  # the statistics of the one batch, not a moving mean
            elif isinstance(module, nn.Dropout):
                module.p = 0.0
        nn.init.normal_(network.fc.weight, 0, 0.05)
        nn.init.normal_(network.fc.bias, 0, 0.05)
        smooth = F.interpolate(torch.rand(6, 3, 12, 12), 299, mode="bicubic").clamp(0, 1)
        with torch.no_grad():
            network.train()(smooth * 2 - 1)
        torch.save(network.state_dict(), path)


def remember_inception_weights(path: Path, replace=setattr) -> None:
    """Let evaluators of this process read the file once: its checksum alone takes 0.4 seconds."""
    kept, load = metrics.load_inception_weights(path), extractors.load_weights

    def remembered(asked: Path | None) -> metrics.InceptionWeights:
        if asked != path:
            return load(asked)
        return kept._replace(state={name: value.clone() for name, value in kept.state.items()})

    replace(extractors, "load_weights", remembered)


def see_small_inputs(replace=setattr) -> None:
    """Let evaluators of this process resize pictures to 107 px instead of 299."""
    replace(protocols, "SIDE_PX", 107)
