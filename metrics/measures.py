"""What to measure and how: the options that all commands with metrics share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from errors import UserError
from metrics.inception import LAYERS
from metrics.lpips import REMEDY

OF_FEATURES = ("fid", "kid", "prdc", "fid_infinity")
OF_LOGITS = ("is",)
OF_PICTURES = ("swd", "ms_ssim")
OF_PAIRS = ("l1", "psnr", "ssim", "lpips")
METRICS = OF_FEATURES + OF_LOGITS + OF_PICTURES + OF_PAIRS
WITHOUT_REALS = ("is", "ms_ssim")

# With fewer images the bias of FID is so large that KID is reported with it.
MANY_IMAGES = 10_000


@dataclass(frozen=True)
class Measures:
    """The metrics and their settings."""

    metrics: str = "fid"
    """Names with commas: fid, kid, is, prdc (precision, recall, density, coverage), fid_infinity,
    swd, ms_ssim; for pictures with equal file names also l1, psnr, ssim, lpips."""
    protocol: Literal["clean", "torch", "tf"] = "clean"
    """Resizing and value range before the network: those of clean-fid, of pytorch-fid, or of
    torch-fidelity and StyleGAN. Numbers of different protocols cannot be compared."""
    layer: int = 2048
    """Layer of the Inception network: 64, 192, 768 or 2048, which is its number of channels."""
    weights: Path | None = None
    """File with the Inception network's weights (.pth or TorchScript); by default they are searched
    for in the cache, else downloaded."""
    features: str | None = None
    """Another network instead of FID's: a run folder of train_features.py or its
    encoder.safetensors; efficientnet_lite0 (ImageNet; the extra `judge`); a TorchScript file; or
    module:function that returns a function uint8 [B, 3, H, W] -> float [B, D]."""
    exact: bool = False
    """Features bit for bit as by the tool of the protocol; slower."""
    kid_subsets: int = 100
    """Pairs of subsets over which KID is averaged."""
    kid_subset_size: int | None = None
    """Images per subset; by default 1000, or half of the smaller set if that has fewer."""
    is_splits: int = 10
    """Splits over which the Inception score is averaged."""
    noise_floor: bool = False
    """Measure also between two halves of the real pictures, and between one of them and as many
    fakes: a generator that reaches the first value cannot be distinguished from the reals. With
    `features` this is always done where the reals are pictures and enough."""
    noise_splits: int = 5
    """Random splits over which the noise floor is averaged."""
    lpips_weights: Path | None = None
    """File with the weights of LPIPS (AlexNet)."""
    metric_seed: int = 2020
    """Seed of all subsets, halves and directions."""

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics' names, each once."""
        return tuple(dict.fromkeys(name.strip().lower() for name in self.metrics.split(",")))

    def needs(self, *kind: str) -> bool:
        """Return whether any of these metrics is to be computed."""
        return bool(set(kind) & set(self.names))

    @property
    def needs_features(self) -> bool:
        """Whether the feature network is needed at all."""
        return self.noise_floor or self.needs(*OF_FEATURES, *OF_LOGITS)

    def check(self) -> None:
        """Raise UserError for invalid names and values, and for combinations that do not fit."""
        for name in self.names:
            if name not in METRICS:
                raise UserError(
                    f"`metrics` {self.metrics}: there is no metric '{name}'; give names of "
                    f"{', '.join(METRICS)}, separated by commas (prdc: precision, recall, density, "
                    "coverage)"
                )
        if self.layer not in LAYERS:
            raise UserError(
                f"`layer` {self.layer}: no such layer; give {', '.join(map(str, LAYERS))}"
            )
        if self.noise_splits < 1:
            raise UserError(f"`noise_splits` {self.noise_splits}: below 1; give 1 or more")
        if self.metric_seed < 0:
            raise UserError(f"`metric_seed` {self.metric_seed}: below 0; give 0 or more")
        if self.features and self.needs("is"):
            raise UserError(
                f"`metrics` {self.metrics}: 'is' needs the classes of FID's network; leave out "
                "`features` or 'is'"
            )
        if self.noise_floor and not self.needs("fid", "kid", "prdc"):
            raise UserError(
                f"`noise_floor` is given, but `metrics` {self.metrics} has none of fid, kid and "
                "prdc, by which it is measured; add one, or leave `noise_floor` out"
            )
        if self.needs("lpips") and self.lpips_weights is None:
            raise UserError(f"`lpips_weights` is missing, but `metrics` has lpips; {REMEDY}")
