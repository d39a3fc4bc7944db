"""Convolutions by Winograd's method, which computes 3 x 3 convolutions with fewer products.

A tile of 4 x 4 outputs is A^T [(G g G^T) * (B^T d B)] A with the 6 x 6 inputs d of the tile and the
3 x 3 weights g: 36 products for each pair of channels instead of 144. All tiles together are 36
matrix products. Source: Lavin and Gray 2016, F(4x4, 3x3).

For inference on a CPU. In float32 the result differs from a direct convolution by rounding: about
1e-5 of the output's standard deviation, where a direct convolution errs by about 2e-6.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEWEST_CHANNELS = 96  # below, moving the tiles costs more than the products that are saved
_TILE = 4

_INPUT = (  # B^T
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_WEIGHT = (  # G
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_OUTPUT = (  # A^T
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)


class WinogradConvolution:
    """The function of a 3 x 3 convolution with stride 1, from its weights at this moment.

    padding: another one than the convolution's.

    Shape: float32 [B, C, H, W] -> [B, C', H - 2 + 2 padding, W - 2 + 2 padding].
    """

    def __init__(self, convolution: nn.Conv2d, padding: int | None = None):
        self.padding = convolution.padding[0] if padding is None else padding
        self.bias = convolution.bias
        weight = convolution.weight.detach().double()
        on_rows = torch.tensor(_WEIGHT, dtype=torch.float64)
        transformed = torch.einsum("ai,ocij,bj->aboc", on_rows, weight, on_rows)
        self.weight = transformed.flatten(0, 1).float().contiguous()  # [36, C', C]
        into, back = (torch.tensor(rows, dtype=torch.float32) for rows in (_INPUT, _OUTPUT))
        self.into, self.back = torch.kron(into, into), torch.kron(back, back)  # of both axes

    def __call__(self, x: Tensor) -> Tensor:
        """Convolve [B, C, H, W]."""
        height, width = (side - 2 + 2 * self.padding for side in x.shape[2:])
        rows, columns = -(-height // _TILE), -(-width // _TILE)
        missing = [_TILE * columns - width, _TILE * rows - height]
        p = self.padding
        x = F.pad(x, (p, p + missing[0], p, p + missing[1]))
        tiles = x.unfold(2, 6, _TILE).unfold(3, 6, _TILE)  # [B, C, rows, columns, 6, 6]
        tiles = tiles.permute(4, 5, 1, 0, 2, 3).reshape(36, -1)
        tiles = (self.into @ tiles).view(36, x.shape[1], -1)
        products = torch.bmm(self.weight, tiles).flatten(1)  # [36, C' B rows columns]
        out = (self.back @ products).view(_TILE, _TILE, -1, x.shape[0], rows, columns)
        out = out.permute(3, 2, 4, 0, 5, 1).reshape(x.shape[0], -1, _TILE * rows, _TILE * columns)[
            :, :, :height, :width
        ]
        return out if self.bias is None else out + self.bias[:, None, None]


def use_winograd(network: nn.Module) -> None:
    """Let the wide 3 x 3 convolutions of a network on the CPU run by Winograd's method.

    For a network that is only used for inference from now on: its weights must not change. Does
    nothing on other devices.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and is_faster(module):
            vars(module)["forward"] = WinogradConvolution(module)


def is_faster(convolution: nn.Conv2d) -> bool:
    """Return whether a convolution can and should run by Winograd's method."""
    weight = convolution.weight
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and weight.shape[2:] == (3, 3)
        and min(weight.shape[:2]) >= FEWEST_CHANNELS
        and convolution.stride == convolution.dilation == (1, 1)
        and convolution.groups == 1
        and convolution.padding in ((0, 0), (1, 1))
        and convolution.padding_mode == "zeros"
    )
