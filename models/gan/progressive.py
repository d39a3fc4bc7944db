"""The progressive GAN (Karras et al. 2018), built with all layers, which are used as it grows.

`level` is how far it has grown, see `models.gan.growing`. Layers above it are not used and get no
gradient (None). Blocks follow the paper's order, activation before average pooling; the authors'
later program pools before bias and activation, which is a different function.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.gan.equalized import (
    EqualizedConv,
    EqualizedLinear,
    LatentToMap,
    pixel_norm,
    with_minibatch_deviation,
)
from models.gan.growing import FIRST_LEVEL, check_level, downsample, upsample, whole_level
from models.gan.inputs import (
    check_counts,
    check_labels,
    check_latents,
    check_pictures,
    check_side,
    with_one_hot,
)
from models.gan.interface import Discriminator, Generator
from models.initialization import initialize
from models.normalization import single_precision


def _widths(base_channels: int, most_channels: int, size_px: int) -> list[int]:
    """Return channels at 4x4, 8x8, ...: min(base / 2^(stage - 1), most), stage = log2(size)."""
    stages = range(FIRST_LEVEL, whole_level(size_px) + 1)
    return [min(base_channels >> (stage - 1), most_channels) for stage in stages]


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


@dataclass(frozen=True)
class ProgressiveGeneratorSizes:
    """Hyperparameters of a progressive generator; ValueError for sizes that do not fit."""

    size_px: int = 1024  # the last resolution, a power of two from 4
    out_channels: int = 3
    latent_channels: int = 512
    base_channels: int = 8192  # a stage of 2^r px has base / 2^(r - 1) channels,
    most_channels: int = 512  # but at most this many
    classes: int = 0

    def __post_init__(self):
        check_side(self.size_px, 2**FIRST_LEVEL)
        check_counts(latent_channels=self.latent_channels, channels=min(self.widths))

    @property
    def widths(self) -> list[int]:
        """Channels at 4x4, 8x8 and so on."""
        return _widths(self.base_channels, self.most_channels, self.size_px)


class GrowingBlock(nn.Module):
    """Upsample, then twice: 3x3 convolution, leaky ReLU, pixel norm."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.conv1 = EqualizedConv(before, after, 3)
        self.conv2 = EqualizedConv(after, after, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, before, H, W] to [B, after, 2H, 2W]."""
        x = pixel_norm(_leaky(self.conv1(upsample(x))))
        return pixel_norm(_leaky(self.conv2(x)))


class ProgressiveGenerator(Generator):
    """A 4x4 block, upsampling blocks, and a linear 1x1 convolution to RGB at each resolution.

    At level l, stage s = ceil(l), weight alpha = 1 - (s - l):
    picture = alpha rgb_s(x_s) + (1 - alpha) up(rgb_{s-1}(x_{s-1})).

    Shape: latents [B, latent_channels] from N(0, I) -> [B, out_channels, 2^s, 2^s], unbounded.
    With classes, the one-hot label is concatenated to the latent before pixel norm.
    Raises ValueError for latents or labels of the wrong shape and for a level out of range.
    """

    def __init__(self, sizes: ProgressiveGeneratorSizes | None = None):
        super().__init__(sizes or ProgressiveGeneratorSizes())
        sizes = self.sizes
        widths = sizes.widths
        self.start = LatentToMap(sizes.latent_channels + sizes.classes, widths[0])
        self.start_conv = EqualizedConv(widths[0], widths[0], 3)
        pairs = zip(widths, widths[1:], strict=False)
        self.blocks = nn.ModuleList(GrowingBlock(before, after) for before, after in pairs)
        self.to_rgb = nn.ModuleList(
            EqualizedConv(width, sizes.out_channels, 1, gain=1.0) for width in widths
        )

    def forward(
        self, latents: Tensor, labels: Tensor | None = None, *, level: float | None = None
    ) -> Tensor:
        """Generate pictures at the resolution of `level`, fully grown by default."""
        check_latents(latents, self.latent_channels)
        stage, alpha = check_level(level, self.size_px)
        grown = stage - FIRST_LEVEL
        x = pixel_norm(with_one_hot(latents, labels, self.classes))
        x = pixel_norm(_leaky(self.start(x)))
        x = before = pixel_norm(_leaky(self.start_conv(x)))
        for block in self.blocks[:grown]:
            before, x = x, block(x)
        picture = self.to_rgb[grown](x)
        if alpha < 1:
            picture = torch.lerp(upsample(self.to_rgb[grown - 1](before)), picture, alpha)
        return picture

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw all weights from N(0, 1)."""
        initialize(self, generator)


@dataclass(frozen=True)
class ProgressiveDiscriminatorSizes:
    """Hyperparameters of a progressive discriminator; ValueError for sizes that do not fit."""

    size_px: int = 1024  # the last resolution, a power of two from 4
    in_channels: int = 3
    base_channels: int = 8192
    most_channels: int = 512
    classes: int = 0
    deviation_group: int = 4  # pictures; batches must be smaller or a multiple of it

    def __post_init__(self):
        check_side(self.size_px, 2**FIRST_LEVEL)
        check_counts(deviation_group=self.deviation_group, channels=min(self.widths))

    @property
    def widths(self) -> list[int]:
        """Channels at 4x4, 8x8 and so on."""
        return _widths(self.base_channels, self.most_channels, self.size_px)


class HalvingBlock(nn.Module):
    """3x3 convolution and leaky ReLU, twice, then 2x2 average pooling."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.conv1 = EqualizedConv(before, before, 3)
        self.conv2 = EqualizedConv(before, after, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, before, H, W] to [B, after, H / 2, W / 2]."""
        return downsample(_leaky(self.conv2(_leaky(self.conv1(x)))))


class ProgressiveDiscriminator(Discriminator):
    """A 1x1 convolution from RGB at each resolution, downsampling blocks, a block at 4x4.

    At level l, stage s = ceil(l), weight alpha = 1 - (s - l), the features at half the resolution
    are alpha block_s(rgb_s(x)) + (1 - alpha) rgb_{s-1}(down(x)).

    Shape: pictures [B, in_channels, 2^s, 2^s], about [-1, 1] -> scores [B]. The last block is
    computed in float32 or better; it uses the minibatch standard deviation, so a picture's score
    depends on its batch.
    With classes it is an AC-GAN: `forward_with_classes` also returns class logits; the score does
    not depend on labels (Odena et al. 2017).
    Raises ValueError for pictures of the wrong size, UserError for a batch that cannot be divided
    into groups.
    """

    def __init__(self, sizes: ProgressiveDiscriminatorSizes | None = None):
        super().__init__(sizes or ProgressiveDiscriminatorSizes())
        sizes = self.sizes
        widths = sizes.widths
        self.from_rgb = nn.ModuleList(
            EqualizedConv(sizes.in_channels, width, 1) for width in widths
        )
        pairs = zip(widths[1:], widths, strict=False)
        self.blocks = nn.ModuleList(HalvingBlock(before, after) for before, after in pairs)
        self.end_conv = EqualizedConv(widths[0] + 1, widths[0], 3)
        last = min(sizes.base_channels, sizes.most_channels)
        self.end_linear = EqualizedLinear(widths[0] * 16, last)
        self.end_scores = EqualizedLinear(last, 1 + sizes.classes, gain=1.0)

    def forward(
        self, pictures: Tensor, labels: Tensor | None = None, *, level: float | None = None
    ) -> Tensor:
        """Score pictures at the resolution of `level`; labels, int64 [B], are ignored."""
        if labels is not None:
            check_labels(labels, self.classes, len(pictures))
        return self._outputs(pictures, level)[:, 0]

    def forward_with_classes(
        self, pictures: Tensor, *, level: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return scores [B] and logits [B, classes]; ValueError for a network without classes."""
        if not self.classes:
            raise ValueError("this discriminator is unconditional and has no classes")
        outputs = self._outputs(pictures, level)
        return outputs[:, 0], outputs[:, 1:]

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw all weights from N(0, 1)."""
        initialize(self, generator)

    def _outputs(self, pictures: Tensor, level: float | None) -> Tensor:
        stage, alpha = check_level(level, self.size_px)
        check_pictures(pictures, self.in_channels, 2**stage)
        grown = stage - FIRST_LEVEL
        x = _leaky(self.from_rgb[grown](pictures))
        for number in reversed(range(grown)):
            x = self.blocks[number](x)
            if number == grown - 1 and alpha < 1:
                x = torch.lerp(_leaky(self.from_rgb[number](downsample(pictures))), x, alpha)
        with torch.autocast(x.device.type, enabled=False):
            return self._end(single_precision(x))

    def _end(self, x: Tensor) -> Tensor:
        x = _leaky(self.end_conv(with_minibatch_deviation(x, self.sizes.deviation_group)))
        return self.end_scores(_leaky(self.end_linear(x.flatten(1))))
