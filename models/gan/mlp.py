"""The fully connected pair of the first GAN (Goodfellow et al. 2014).

The paper names ReLU, maxout and dropout; the sizes are those of the authors' program for MNIST
(github.com/goodfeli/adversarial, mnist.yaml). Three things differ. Pictures are in [-1, 1], so the
generator ends with tanh instead of a sigmoid. The discriminator has no dropout, which would make
the value of the game random. Weights are initialised by Xavier's rule, which equals the program's
+-0.05 for its layers of 1200 units and extends to other widths.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.gan.inputs import check_counts, check_latents, check_pictures, with_one_hot
from models.gan.interface import Discriminator, Generator
from models.initialization import initialize


@dataclass(frozen=True)
class MlpGeneratorSizes:
    """Hyperparameters of a fully connected generator; ValueError for a number below 1."""

    size_px: int = 32
    out_channels: int = 3
    latent_channels: int = 100
    hidden_channels: int = 1200
    classes: int = 0

    def __post_init__(self):
        check_counts(
            size_px=self.size_px,
            out_channels=self.out_channels,
            latent_channels=self.latent_channels,
            hidden_channels=self.hidden_channels,
        )


class MlpGenerator(Generator):
    """Two hidden layers with ReLU, final tanh; any picture size.

    Shape: latents [B, latent_channels] from N(0, I) -> [B, out_channels, S, S] in (-1, 1).
    With classes, the one-hot label is concatenated to the latent (Mirza and Osindero 2014).
    Raises ValueError for latents or labels of the wrong shape.
    """

    def __init__(self, sizes: MlpGeneratorSizes | None = None):
        super().__init__(sizes or MlpGeneratorSizes())
        sizes = self.sizes
        hidden = sizes.hidden_channels
        self.layers = nn.Sequential(
            nn.Linear(sizes.latent_channels + sizes.classes, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, sizes.out_channels * sizes.size_px**2),
            nn.Tanh(),
        )

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generate pictures from latents [B, latent_channels] and labels, int64 [B]."""
        check_latents(latents, self.latent_channels)
        pixels = self.layers(with_one_hot(latents, labels, self.classes))
        return pixels.view(-1, self.out_channels, self.size_px, self.size_px)

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw weights from N(0, 2 / (fan_in + fan_out)), biases 0."""
        initialize(self, generator, "xavier", 1.0)


class Maxout(nn.Module):
    """The maximum of `pieces` linear maps for each unit: [B, before] -> [B, units].

    h_i = max_j (W_ij x + b_ij). Source: Goodfellow et al. 2013, equation 1.
    """

    def __init__(self, before: int, units: int, pieces: int):
        super().__init__()
        self.units, self.pieces = units, pieces
        self.linear = nn.Linear(before, units * pieces)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, before] to [B, units]."""
        return self.linear(x).view(-1, self.units, self.pieces).max(2).values


@dataclass(frozen=True)
class MlpDiscriminatorSizes:
    """Hyperparameters of a fully connected discriminator; ValueError for a number below 1."""

    size_px: int = 32
    in_channels: int = 3
    hidden_channels: int = 240
    pieces: int = 5
    classes: int = 0

    def __post_init__(self):
        check_counts(
            size_px=self.size_px,
            in_channels=self.in_channels,
            hidden_channels=self.hidden_channels,
            pieces=self.pieces,
        )


class MlpDiscriminator(Discriminator):
    """Two layers of maxout units and a linear layer.

    Shape: pictures [B, in_channels, S, S] in [-1, 1] -> logits [B]. With classes, the one-hot label
    is concatenated to the pixels. Raises ValueError for pictures or labels of the wrong shape.
    """

    def __init__(self, sizes: MlpDiscriminatorSizes | None = None):
        super().__init__(sizes or MlpDiscriminatorSizes())
        sizes = self.sizes
        hidden = sizes.hidden_channels
        self.layers = nn.Sequential(
            Maxout(sizes.in_channels * sizes.size_px**2 + sizes.classes, hidden, sizes.pieces),
            Maxout(hidden, hidden, sizes.pieces),
            nn.Linear(hidden, 1),
        )

    def forward(self, pictures: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the logits [B] of pictures [B, in_channels, S, S] with labels, int64 [B]."""
        check_pictures(pictures, self.in_channels, self.size_px)
        return self.layers(with_one_hot(pictures.flatten(1), labels, self.classes)).squeeze(1)

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw weights from N(0, 2 / (fan_in + fan_out)), biases 0."""
        initialize(self, generator, "xavier", 1.0)
