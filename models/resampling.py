"""Anti-aliased halving and doubling of pictures by constant filters."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.linear_maps import blur_and_halve


class FixedFilter(nn.Module):
    """A layer whose only tensor is a constant filter, taps x taps / sum * gain.

    The filter is no part of the state, but the official files hold it.
    """

    official_name = "filt"

    def __init__(self, taps: Sequence[float], gain: float = 1.0):
        super().__init__()
        kernel = torch.tensor(taps)[:, None] * torch.tensor(taps)
        self.register_buffer("kernel", kernel / kernel.sum() * gain, persistent=False)

    def official_filter(self) -> Tensor:
        """Return the filter in the shape that it has in the official files."""
        return self.kernel


class ResamplingFilter(FixedFilter):
    """A filter for `channels` channels; the official files repeat it for each, [C, 1, k, k]."""

    def __init__(self, channels: int, taps: Sequence[float], gain: float = 1.0):
        super().__init__(taps, gain)
        self.channels = channels

    def official_filter(self) -> Tensor:
        """Return [C, 1, k, k]."""
        return self.kernel.repeat(self.channels, 1, 1, 1)

    def extra_repr(self) -> str:
        """Show the number of channels."""
        return str(self.channels)


class BlurDownsample(ResamplingFilter):
    """Halve a picture after a [1, 2, 1] x [1, 2, 1] / 16 blur with reflected borders.

    Shape: [B, C, H, W] -> [B, C, ceil(H / 2), ceil(W / 2)]. Source: Zhang 2019 (BlurPool).
    """

    def __init__(self, channels: int):
        super().__init__(channels, (1.0, 2.0, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Blur and halve [B, C, H, W]."""
        return blur_and_halve(x, self.kernel)


class BlurUpsample(ResamplingFilter):
    """Double a picture with the [1, 3, 3, 1] x [1, 3, 3, 1] / 16 filter and repeated borders.

    The same function as bilinear interpolation at pixel centres (checked by a test).
    Shape: [B, C, H, W] -> [B, C, 2H, 2W].
    """

    def __init__(self, channels: int):
        super().__init__(channels, (1.0, 3.0, 3.0, 1.0), gain=4.0)

    def forward(self, x: Tensor) -> Tensor:
        """Double [B, C, H, W]."""
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
