"""The Inception network of FID: the graph of 2015-12-05, on which all published numbers rest.

It is Inception v3 (Szegedy et al. 2016, "Rethinking the Inception Architecture") with 1008 classes
and three quirks of that graph: average pools do not count their padding, the last block uses max
pooling, and the head has a bias that the Inception score leaves out. Names are torchvision's, so
that the published state dicts fit.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

CLASSES = 1008
SIDE_PX = 299
LAYERS = (64, 192, 768, 2048)  # a layer is named by its number of channels
LOGITS = "logits"
LOGITS_WITHOUT_BIAS = "logits_unbiased"


class Convolution(nn.Module):
    """Convolution, batch norm in eval mode, ReLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, out_channels, H', W']."""
        return F.relu(self.bn(self.conv(x)), inplace=True)

    def fold(self) -> None:
        """Fold the norm into the convolution, which saves a pass over the memory."""
        self.conv, self.bn = fuse_conv_bn_eval(self.conv, self.bn), nn.Identity()


def _average_pool(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _max_pool(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, stride=1, padding=1)


def _halving_pool(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, stride=2)


class BlockA(nn.Module):
    """35 x 35: 1x1, 5x5, double 3x3 and pooled branches; 224 + pooled channels out."""

    def __init__(self, channels: int, pooled: int):
        super().__init__()
        self.branch1x1 = Convolution(channels, 64, 1)
        self.branch5x5_1 = Convolution(channels, 48, 1)
        self.branch5x5_2 = Convolution(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Convolution(channels, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, padding=1)
        self.branch_pool = Convolution(channels, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, 35, 35] -> [B, 224 + pooled, 35, 35]."""
        branches = [
            self.branch1x1(x),
            self.branch5x5_2(self.branch5x5_1(x)),
            self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
            self.branch_pool(_average_pool(x)),
        ]
        return torch.cat(branches, 1)


class BlockB(nn.Module):
    """35 x 35 -> 17 x 17."""

    def __init__(self, channels: int):
        super().__init__()
        self.branch3x3 = Convolution(channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = Convolution(channels, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, 35, 35] -> [B, 480 + C, 17, 17]."""
        branches = [
            self.branch3x3(x),
            self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
            _halving_pool(x),
        ]
        return torch.cat(branches, 1)


class BlockC(nn.Module):
    """17 x 17 with convolutions factorised into 1x7 and 7x1, `inner` channels wide."""

    def __init__(self, inner: int):
        super().__init__()
        wide, high = {"padding": (0, 3)}, {"padding": (3, 0)}
        self.branch1x1 = Convolution(768, 192, 1)
        self.branch7x7_1 = Convolution(768, inner, 1)
        self.branch7x7_2 = Convolution(inner, inner, (1, 7), **wide)
        self.branch7x7_3 = Convolution(inner, 192, (7, 1), **high)
        self.branch7x7dbl_1 = Convolution(768, inner, 1)
        self.branch7x7dbl_2 = Convolution(inner, inner, (7, 1), **high)
        self.branch7x7dbl_3 = Convolution(inner, inner, (1, 7), **wide)
        self.branch7x7dbl_4 = Convolution(inner, inner, (7, 1), **high)
        self.branch7x7dbl_5 = Convolution(inner, 192, (1, 7), **wide)
        self.branch_pool = Convolution(768, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 768, 17, 17] -> the same shape."""
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        pooled = self.branch_pool(_average_pool(x))
        return torch.cat([self.branch1x1(x), seven, double, pooled], 1)


class BlockD(nn.Module):
    """17 x 17 -> 8 x 8."""

    def __init__(self):
        super().__init__()
        self.branch3x3_1 = Convolution(768, 192, 1)
        self.branch3x3_2 = Convolution(192, 320, 3, stride=2)
        self.branch7x7x3_1 = Convolution(768, 192, 1)
        self.branch7x7x3_2 = Convolution(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = Convolution(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = Convolution(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 768, 17, 17] -> [B, 1280, 8, 8]."""
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        branches = [
            self.branch3x3_2(self.branch3x3_1(x)),
            self.branch7x7x3_4(seven),
            _halving_pool(x),
        ]
        return torch.cat(branches, 1)


class BlockE(nn.Module):
    """8 x 8, 3x3 convolutions split into parallel 1x3 and 3x1; `pools_by_maximum`: the quirk."""

    def __init__(self, channels: int, pools_by_maximum: bool):
        super().__init__()
        self.pool = _max_pool if pools_by_maximum else _average_pool
        self.branch1x1 = Convolution(channels, 320, 1)
        self.branch3x3_1 = Convolution(channels, 384, 1)
        self.branch3x3_2a = Convolution(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = Convolution(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = Convolution(channels, 448, 1)
        self.branch3x3dbl_2 = Convolution(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = Convolution(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = Convolution(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = Convolution(channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, 8, 8] -> [B, 2048, 8, 8]."""
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        branches = [
            self.branch1x1(x),
            self.branch3x3_2a(single),
            self.branch3x3_2b(single),
            self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double),
            self.branch_pool(self.pool(x)),
        ]
        return torch.cat(branches, 1)


class FidInception(nn.Module):
    """The network, always in eval mode; 23,850,960 parameters."""

    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3)
        self.Mixed_5b = BlockA(192, pooled=32)
        self.Mixed_5c = BlockA(256, pooled=64)
        self.Mixed_5d = BlockA(288, pooled=64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b = BlockC(128)
        self.Mixed_6c = BlockC(160)
        self.Mixed_6d = BlockC(160)
        self.Mixed_6e = BlockC(192)
        self.Mixed_7a = BlockD()
        self.Mixed_7b = BlockE(1280, pools_by_maximum=False)
        self.Mixed_7c = BlockE(2048, pools_by_maximum=True)
        self.fc = nn.Linear(2048, CLASSES)
        self.eval().requires_grad_(False)

    def fold(self) -> None:
        """Fold every norm into its convolution; outputs change by rounding alone."""
        for module in self.modules():
            if isinstance(module, Convolution):
                module.fold()

    @torch.no_grad()
    def forward(self, x: Tensor, wanted: Sequence[int | str]) -> dict[int | str, Tensor]:
        """Return the wanted features by name; layers after the last of them are not run.

        x: float [B, 3, 299, 299] in the protocol's value range. wanted: any of `LAYERS`, the
        spatial mean of the feature maps with that many channels, float [B, layer]; LOGITS, float
        [B, 1008]; LOGITS_WITHOUT_BIAS, the same without the bias, for the Inception score.
        """
        found = {}
        last = max((layer for layer in wanted if isinstance(layer, int)), default=0)
        for layer, stage in zip(LAYERS, self._stages(), strict=True):
            for part in stage:
                x = part(x)
            if layer in wanted:
                found[layer] = F.adaptive_avg_pool2d(x, 1).flatten(1)
            if layer == last and len(found) == len(wanted):
                return found
        pooled = F.adaptive_avg_pool2d(x, 1).flatten(1).to(self.fc.weight)
        if LOGITS_WITHOUT_BIAS in wanted:
            found[LOGITS_WITHOUT_BIAS] = pooled.mm(self.fc.weight.T)
        if LOGITS in wanted:
            found[LOGITS] = self.fc(pooled)
        return found

    def _stages(self) -> tuple[tuple[Callable[[Tensor], Tensor], ...], ...]:
        """Return the parts up to each of `LAYERS`."""
        return (
            (self.Conv2d_1a_3x3, self.Conv2d_2a_3x3, self.Conv2d_2b_3x3, _halving_pool),
            (self.Conv2d_3b_1x1, self.Conv2d_4a_3x3, _halving_pool),
            (self.Mixed_5b, self.Mixed_5c, self.Mixed_5d)
            + (self.Mixed_6a, self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e),
            (self.Mixed_7a, self.Mixed_7b, self.Mixed_7c),
        )
