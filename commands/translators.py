"""A trained translator, opened to translate pictures."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

import data
import models


class OpenedTranslator(NamedTuple):
    """A generator on its device, and what its pictures are."""

    network: nn.Module
    source: data.Content
    target: data.Content


def open_translator(
    checkpoint: Path,
    direction: str | None,
    device: torch.device,
    remedy: str,
    option: str = "--checkpoint",
) -> OpenedTranslator:
    """Read a run folder, .safetensors or official file, and prepare its network for the device.

    remedy: for a file that makes pictures from noise. option: names the file in the message about
    channels that pictures do not have. Raises UserError for these and for what is no translator.
    """
    saved = models.load_generator(checkpoint, "--checkpoint", direction, remedy)
    network = saved.network.to(device)
    contents = data.contents_of(
        saved.description, network.in_channels, network.out_channels, option
    )
    models.use_winograd(network)
    return OpenedTranslator(network, *contents)
