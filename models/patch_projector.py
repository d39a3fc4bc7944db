"""Projects feature maps to the vectors that PatchNCE compares (Park et al. 2020, section 3.2)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.normalization import single_precision


class PatchProjector(nn.Module):
    """One two-layer MLP per feature map: Linear, ReLU, Linear, then L2 normalisation.

    v = z / (|z| + 1e-7), z = W2 relu(W1 f + b1) + b2, for the feature f at each given position.
    The MLPs are built in the constructor, for `feature_channels`.
    """

    def __init__(self, feature_channels: Sequence[int], out_channels: int = 256):
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Linear(channels, out_channels),
                nn.ReLU(),
                nn.Linear(out_channels, out_channels),
            )
            for channels in feature_channels
        )

    def forward(self, features: Sequence[Tensor], positions: Sequence[Tensor]) -> list[Tensor]:
        """Project every feature map at the given positions.

        features: one [B, C_i, H_i, W_i] per layer. positions: one int64 [P_i] per layer, pixel
        indices in row-major order shared by the whole batch, or [B, P_i].
        Returns one float32 [B, P_i, out_channels] per layer, of length 1.
        """
        return [
            normalize(head(gather_positions(feature, position)))
            for head, feature, position in zip(self.heads, features, positions, strict=True)
        ]


def gather_positions(feature: Tensor, positions: Tensor) -> Tensor:
    """Gather pixels [P] or [B, P] of a map [B, C, H, W] -> [B, P, C], without copying the map."""
    pixels = feature.flatten(2)
    if positions.dim() == 1:
        return pixels.index_select(2, positions).transpose(1, 2)
    index = positions.unsqueeze(1).expand(-1, feature.shape[1], -1)
    return pixels.gather(2, index).transpose(1, 2)


def normalize(vectors: Tensor) -> Tensor:
    """Divide vectors [..., C] by (their Euclidean length + 1e-7), in float32 or better."""
    vectors = single_precision(vectors)
    return vectors / (vectors.norm(dim=-1, keepdim=True) + 1e-7)


def draw_positions(
    feature_sizes: Sequence[int], patches: int, generator: torch.Generator
) -> list[Tensor]:
    """Draw positions without replacement for each map of `feature_sizes` (H * W) pixels.

    Returns one int64 [min(patches, H * W)] per layer, on the generator's device.
    """
    return [
        torch.randperm(size, generator=generator, device=generator.device)[:patches]
        for size in feature_sizes
    ]
