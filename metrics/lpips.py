"""LPIPS: the perceptual distance of two pictures, in the features of a classifier."""

import pickle
import re
import struct
import warnings
import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn

from errors import UserError

CHANNELS = (64, 192, 384, 256, 256)  # of the five taps
TAPS = (1, 4, 7, 9, 11)  # the ReLUs among torchvision's `features`
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
LOWEST_PX = 31
REMEDY = (
    'make the file with python -c "import lpips, torch; '
    "torch.save(lpips.LPIPS(net='alex').state_dict(), 'lpips_alex.pth')\""
)
IGNORED = ("lins.", "scaling_layer.", "classifier.")
READING_ERRORS = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    struct.error,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)


class Lpips(nn.Module):
    """LPIPS v0.1 on AlexNet, always in eval mode and without gradients; 2,470,848 parameters.

    d(a, b) = sum over the five taps of the mean over positions of w . (f(a) - f(b))^2, f the
    features after a ReLU divided by their length over the channels (+ 1e-10), w a non-negative
    weight per channel. Pictures are scaled to [-1, 1] and normalised as for the network's training.
    The lpips package gives the same numbers, and torchmetrics contains a copy; both download
    AlexNet when they are built, while this network reads all weights from one file (`load_lpips`).
    Source: Zhang et al. 2018 (The Unreasonable Effectiveness of Deep Features), equation 1, in the
    version 0.1 of their program.
    """

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
        )
        self.linear = nn.ModuleList(nn.Conv2d(channels, 1, 1, bias=False) for channels in CHANNELS)
        self.register_buffer("shift", torch.tensor(SHIFT).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the distance of each pair: uint8 [B, 3, H, W] twice -> float32 [B], 0 if equal.

        Computed in float32 without autocast. Raises UserError for a side below 31 pixels, of which
        the network's pooling leaves nothing, ValueError for another type or unequal shapes.
        """
        self._check(a, b)
        with torch.autocast(a.device.type, enabled=False):
            distance = torch.zeros(len(a), device=a.device)
            pairs = zip(self._taps(a), self._taps(b), self.linear, strict=True)
            for features_a, features_b, linear in pairs:
                difference = (_unit_length(features_a) - _unit_length(features_b)) ** 2
                distance += linear(difference).mean((1, 2, 3))
            return distance

    def _check(self, a: Tensor, b: Tensor) -> None:
        kinds = f"{a.dtype} {list(a.shape)} and {b.dtype} {list(b.shape)}"
        types = {a.dtype, b.dtype} == {torch.uint8}
        if not types or a.shape != b.shape or a.dim() != 4 or a.shape[1] != 3:
            raise ValueError(f"pictures {kinds} are not two equal uint8 [B, 3, H, W]")
        height, width = a.shape[-2:]
        if min(height, width) < LOWEST_PX:
            raise UserError(
                f"`metrics` lpips: a picture of {width}x{height} pixels; lpips needs at least "
                f"{LOWEST_PX} per side: leave lpips out or give larger pictures"
            )

    def _taps(self, pictures: Tensor) -> list[Tensor]:
        """Return the features after each ReLU, [B, C_i, H_i, W_i]."""
        x = (pictures.float() / 127.5 - 1 - self.shift) / self.scale
        taps = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in TAPS:
                taps.append(x)
        return taps


def _unit_length(features: Tensor) -> Tensor:
    return features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)


def load_lpips(path: str | Path, option: str) -> Lpips:
    """Read the weights of `Lpips` from one file and return the network on the CPU.

    The file is a state dict with the names of the `lpips` package (`net.slice1.0.weight`, ...,
    `lin0.model.1.weight`, ...), or of torchvision's AlexNet (`features.0.weight`, ...) together
    with the linear weights; their other entries are ignored. Only tensors are unpickled.

    Raises UserError, which names `option` and says how to make the file, for a file that is
    missing, damaged, or holds anything else.
    """
    state = _read_state(Path(path), option)
    network = Lpips()
    try:
        network.load_state_dict(_our_names(state))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{option} {path}: not LPIPS on AlexNet ({reason}); {REMEDY}") from error
    if not all(bool(torch.isfinite(value).all()) for value in network.parameters()):
        raise UserError(f"{option} {path}: weights that are not finite; {REMEDY}")
    if any(bool((linear.weight < 0).any()) for linear in network.linear):
        raise UserError(f"{option} {path}: negative linear weights, not LPIPS v0.1; {REMEDY}")
    return network


def _read_state(path: Path, option: str) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"{option} {path}: there is no such file; {REMEDY}")
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:  # PyTorch itself compares no checksums
                if archive.testzip() is not None:
                    raise zipfile.BadZipFile("a checksum does not match")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about the protocol of another's pickle
            content = torch.load(path, map_location="cpu", weights_only=True)
    except READING_ERRORS as error:
        raise UserError(
            f"{option} {path}: no state dict can be read from it ({type(error).__name__}: damaged, "
            f"or it holds more than tensors); {REMEDY}"
        ) from error
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise UserError(f"{option} {path}: not a state dict; {REMEDY}")
    return content


def _our_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename `net.slice2.3.` to `features.3.` and `lin0.model.1.` to `linear.0.`, drop the rest."""
    renamed = {}
    for name, value in state.items():
        if not name.startswith(IGNORED):
            name = re.sub(r"^net\.slice\d\.", "features.", name)
            name = re.sub(r"^lin(\d)\.model\.\d\.", r"linear.\1.", name)
            renamed[name] = value
    return renamed
