"""The official CUT and FastCUT training step, reimplemented literally: the baseline of our timings.

Contrastive unpaired translation (Park, Efros, Zhang, Zhu, "Contrastive Learning for Unpaired
Image-to-Image Translation", ECCV 2020). Nothing here is imported from the rest of the repository,
so that no improvement of ours reaches the baseline by accident. It loads the official state dicts
and reproduces the losses of the official program (tests/benchmarks/test_official_cut.py).

It is slow on purpose. Do not optimise it: each of these is something that the official program
does, and that a faster step gains by avoiding:

- Keys are encoded again. The main forward pass has already computed the features of real_A and
  real_B; `contrast` encodes them once more for each NCE term, and keeps their graph although no
  gradient flows through it: they are detached only inside the loss.
- Fake and real images go through the discriminator, and queries and keys through the encoder, in
  separate passes instead of in one batch.
- Patch positions are drawn on the CPU: every layer permutes all of its positions (68,644 in the
  first at 256 px) to keep 256, and copies them to the device, which waits.
- Features are gathered from a channels-last view of the whole map. The view is free, but its
  backward pass allocates a channels-last gradient of the map's full size, zero but for 256 rows.
- Blur is a depthwise convolution with a stored filter after an explicit padding layer; blurred
  upsampling computes a border of one pixel and cuts it off again.
- Convolutions before an instance norm have a bias that the norm cancels, and Adam updates it.
- The discriminator is frozen and unfrozen by a loop over its parameters, in every step.
- Arithmetic is float32 (TF32 where PyTorch's defaults allow it) in NCHW order.

Where this differs from the official program, and in whose favour:

- Heads are built at once, not in the first step from the features' sizes: no effect on the time.
- No DataParallel wrapper around the networks, and no visualiser: in favour of the baseline.
- Losses are read from the device at the end of each step. The official program reads them every
  hundredth step but synchronises twice in every step, so it waits just as long.
- Random numbers come from generators of its own, seeded by `seed`, not from numpy's global one.

A pitfall: on the CPU PyTorch's `instance_norm` returns a wrong gradient for a batch of 1 if the
incoming gradient is in channels-last order, as it is from the sampling of patches. The official
program is used this way, so the baseline keeps it. To compare numbers pass
`one_channel_group_norm`, the same function with the correct gradient.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

NormLayer = Callable[[int], nn.Module]

NCE_LAYERS = (0, 4, 8, 12, 16)
TEMPERATURE = 0.07
LEARNING_RATE = 2e-4
BETAS = (0.5, 0.999)
INIT_GAIN = 0.02

instance_norm = partial(nn.InstanceNorm2d, affine=False, track_running_stats=False)


def one_channel_group_norm(channels: int) -> nn.Module:
    """Return instance norm as group norm: correct gradients on the CPU (see module docstring)."""
    return nn.GroupNorm(channels, channels, affine=False)


class Mode(NamedTuple):
    """The options in which CUT and FastCUT differ."""

    identity: bool
    nce_weight: float
    flip_equivariance: bool


MODES = {
    "CUT": Mode(identity=True, nce_weight=1.0, flip_equivariance=False),
    "FastCUT": Mode(identity=False, nce_weight=10.0, flip_equivariance=True),
}


# Networks: layer numbers and parameter names are the official ones.


def blur_filter(taps: Sequence[float], channels: int, gain: float = 1.0) -> Tensor:
    """Return the outer product of `taps`, scaled to the sum `gain`: [channels, 1, size, size]."""
    row = torch.tensor(taps)
    square = torch.outer(row, row)
    return (gain * square / square.sum())[None, None].repeat(channels, 1, 1, 1)


class Downsample(nn.Module):
    """Halve the size: reflect, blur by [1, 2, 1], keep every second pixel."""

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("filt", blur_filter((1.0, 2.0, 1.0), channels))
        self.pad = nn.ReflectionPad2d(1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, ceil(H / 2), ceil(W / 2)]."""
        return F.conv2d(self.pad(x), self.filt, stride=2, groups=x.shape[1])


class Upsample(nn.Module):
    """Double the size: replicate, transposed convolution by [1, 3, 3, 1], cut the border off."""

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("filt", blur_filter((1.0, 3.0, 3.0, 1.0), channels, gain=4.0))
        self.pad = nn.ReplicationPad2d(1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, 2 H, 2 W]."""
        wide = F.conv_transpose2d(self.pad(x), self.filt, stride=2, padding=2, groups=x.shape[1])
        return wide[:, :, 1:, 1:][:, :, :-1, :-1]


class ResnetBlock(nn.Module):
    """x plus two 3x3 convolutions with reflection padding and norm; no activation after the sum."""

    def __init__(self, channels: int, norm_layer: NormLayer):
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            norm_layer(channels),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            norm_layer(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> the same shape."""
        return x + self.conv_block(x)


def conv_norm_relu(
    inputs: int, outputs: int, norm_layer: NormLayer, size: int = 3, padding: int = 1
) -> list[nn.Module]:
    """Return the three layers with which the generator changes its width."""
    conv = nn.Conv2d(inputs, outputs, size, padding=padding)
    return [conv, norm_layer(outputs), nn.ReLU(inplace=True)]


class ResnetGenerator(nn.Module):
    """The anti-aliased ResNet of CUT with 9 blocks, layers 0 to 31 of one sequence."""

    def __init__(self, ngf: int, norm_layer: NormLayer, blocks: int = 9):
        super().__init__()
        self.model = nn.Sequential(
            nn.ReflectionPad2d(3),
            *conv_norm_relu(3, ngf, norm_layer, size=7, padding=0),
            *conv_norm_relu(ngf, 2 * ngf, norm_layer),
            Downsample(2 * ngf),
            *conv_norm_relu(2 * ngf, 4 * ngf, norm_layer),
            Downsample(4 * ngf),
            *(ResnetBlock(4 * ngf, norm_layer) for _ in range(blocks)),
            Upsample(4 * ngf),
            *conv_norm_relu(4 * ngf, 2 * ngf, norm_layer),
            Upsample(2 * ngf),
            *conv_norm_relu(2 * ngf, ngf, norm_layer),
            nn.ReflectionPad2d(3),
            nn.Conv2d(ngf, 3, 7),
            nn.Tanh(),
        )

    def forward(
        self, image: Tensor, layers: Sequence[int] = (), encode_only: bool = False
    ) -> Tensor | list[Tensor]:
        """Translate [N, 3, H, W], or, with `encode_only`, return the features after `layers`."""
        if not encode_only:
            return self.model(image)
        x, features = image, []
        for number, layer in enumerate(self.model):
            x = layer(x)
            if number in layers:
                features.append(x)
            if number == layers[-1]:
                break
        return features


def discriminator_stage(inputs: int, outputs: int, norm_layer: NormLayer) -> list[nn.Module]:
    """Return a 4x4 convolution of stride 1 with norm and leaky ReLU."""
    conv = nn.Conv2d(inputs, outputs, 4, padding=1)
    return [conv, norm_layer(outputs), nn.LeakyReLU(0.2, inplace=True)]


class PatchDiscriminator(nn.Module):
    """The anti-aliased PatchGAN of CUT with 3 layers: blurred downsampling instead of strides."""

    def __init__(self, ndf: int, norm_layer: NormLayer):
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(3, ndf, 4, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            Downsample(ndf),
            *discriminator_stage(ndf, 2 * ndf, norm_layer),
            Downsample(2 * ndf),
            *discriminator_stage(2 * ndf, 4 * ndf, norm_layer),
            Downsample(4 * ndf),
            *discriminator_stage(4 * ndf, 8 * ndf, norm_layer),
            nn.Conv2d(8 * ndf, 1, 4, padding=1),
        )

    def forward(self, image: Tensor) -> Tensor:
        """[N, 3, H, W] -> a map of logits [N, 1, h, w]."""
        return self.model(image)


class PatchSampleF(nn.Module):
    """Gathers features at random positions of each map and projects them by one head per map."""

    def __init__(self, channels: Sequence[int], width: int, rng: np.random.RandomState):
        super().__init__()
        self.rng = rng
        for number, count in enumerate(channels):
            head = nn.Sequential(nn.Linear(count, width), nn.ReLU(), nn.Linear(width, width))
            self.add_module(f"mlp_{number}", head)

    def draw(self, feature: Tensor, num_patches: int) -> np.ndarray:
        """Permute all positions of the map on the CPU and keep the first `num_patches`."""
        return self.rng.permutation(feature.shape[2] * feature.shape[3])[:num_patches]

    def forward(
        self, features: list[Tensor], num_patches: int, patch_ids: Sequence | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return for each map the unit vectors [N * P, width], image by image, and the ids [P]."""
        samples, used_ids = [], []
        for number, (head, feature) in enumerate(zip(self.children(), features, strict=True)):
            rows = feature.permute(0, 2, 3, 1).flatten(1, 2)  # [N, H * W, C]
            drawn = self.draw(feature, num_patches) if patch_ids is None else patch_ids[number]
            ids = torch.as_tensor(drawn, dtype=torch.long, device=feature.device)
            projected = head(rows[:, ids, :].flatten(0, 1))
            length = projected.pow(2).sum(1, keepdim=True).pow(0.5)
            samples.append(projected / (length + 1e-7))
            used_ids.append(ids)
        return samples, used_ids


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Set convolutions and linear layers to Xavier normal with CUT's gain of 0.02, biases to 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_normal_(module.weight, INIT_GAIN, generator=generator)
            nn.init.zeros_(module.bias)


# Losses


def patch_nce(queries: Tensor, keys: Tensor, batch_size: int) -> Tensor:
    """Return the mean cross-entropy of finding each query's key among the keys of its image.

    queries, keys: [N * P, width]; the keys are detached here and not before.
    """
    rows, width = queries.shape
    keys = keys.detach()
    l_pos = torch.bmm(queries.view(rows, 1, width), keys.view(rows, width, 1)).view(rows, 1)

    queries = queries.view(batch_size, -1, width)
    keys = keys.view(batch_size, -1, width)
    patches = queries.shape[1]
    l_neg = torch.bmm(queries, keys.transpose(2, 1))  # [N, P, P]
    diagonal = torch.eye(patches, device=queries.device, dtype=torch.bool)[None]
    l_neg.masked_fill_(diagonal, -10.0)

    logits = torch.cat((l_pos, l_neg.view(-1, patches)), dim=1) / TEMPERATURE
    target = torch.zeros(rows, dtype=torch.long, device=queries.device)
    return F.cross_entropy(logits, target, reduction="none").mean()


def lsgan(logits: Tensor, label: Tensor) -> Tensor:
    """Return the mean squared distance of all logits to the scalar `label`."""
    return F.mse_loss(logits, label.expand_as(logits))


def set_requires_grad(network: nn.Module, value: bool) -> None:
    """Freeze or unfreeze a network, parameter by parameter."""
    for parameter in network.parameters():
        parameter.requires_grad = value


class OfficialCut:
    """Networks, optimisers and the training step of the official program.

    mode: "CUT" or "FastCUT". norm_layer: builds the norm for a number of channels. The constructor
    turns on `torch.backends.cudnn.benchmark` for the whole process, as the official one does.
    Official state dicts can be loaded into the three networks, which stay on `device`.
    """

    def __init__(
        self,
        *,
        ngf: int = 64,
        ndf: int = 64,
        netF_nc: int = 256,
        num_patches: int = 256,
        mode: str = "CUT",
        norm_layer: NormLayer = instance_norm,
        seed: int,
        device: str | torch.device = "cpu",
    ):
        torch.backends.cudnn.benchmark = True
        self.mode = MODES[mode]
        self.num_patches = num_patches
        self.rng = np.random.RandomState(seed)
        channels = (3, 2 * ngf, 4 * ngf, 4 * ngf, 4 * ngf)
        self.netG = ResnetGenerator(ngf, norm_layer)
        self.netD = PatchDiscriminator(ndf, norm_layer)
        self.netF = PatchSampleF(channels, netF_nc, self.rng)

        self.real_label = torch.tensor(1.0, device=device)
        self.fake_label = torch.tensor(0.0, device=device)
        generator = torch.Generator().manual_seed(seed)
        for network in (self.netG, self.netD, self.netF):
            initialise(network, generator)
            network.to(device)
        self.optimizer_G = torch.optim.Adam(self.netG.parameters(), LEARNING_RATE, BETAS)
        self.optimizer_D = torch.optim.Adam(self.netD.parameters(), LEARNING_RATE, BETAS)
        self.optimizer_F = torch.optim.Adam(self.netF.parameters(), LEARNING_RATE, BETAS)

    def step(
        self,
        real_A: Tensor,
        real_B: Tensor,
        *,
        patch_ids: Sequence[np.ndarray] | None = None,
        flipped: bool | None = None,
    ) -> dict[str, float]:
        """Update D, then G and F, from one batch; return the losses as the program reports them.

        real_A, real_B: float [N, 3, H, W] in [-1, 1]. patch_ids: the positions to use instead of
        random ones, five arrays for real_A -> fake_B, then, for CUT, five for the identity.
        flipped: FastCUT's random flip. NCE and NCE_Y are reported before the factor 0.5.
        """
        if flipped is None:
            flipped = self.mode.flip_equivariance and self.rng.random_sample() < 0.5
        fake_B, idt_B = self.translate(real_A, real_B, flipped)
        losses = self.update_discriminator(fake_B, real_B)
        losses |= self.update_generator(real_A, real_B, fake_B, idt_B, patch_ids, flipped)
        return {name: loss.item() for name, loss in losses.items()}

    def translate(
        self, real_A: Tensor, real_B: Tensor, flipped: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return fake_B, mirrored if flipped, and with the identity term also G(real_B)."""
        real = torch.cat((real_A, real_B)) if self.mode.identity else real_A
        fake = self.netG(torch.flip(real, [3]) if flipped else real)
        count = real_A.shape[0]
        return fake[:count], fake[count:] if self.mode.identity else None

    def update_discriminator(self, fake_B: Tensor, real_B: Tensor) -> dict[str, Tensor]:
        """Take one step of D on 0.5 * (fake + real)."""
        set_requires_grad(self.netD, True)
        self.optimizer_D.zero_grad()
        d_fake = lsgan(self.netD(fake_B.detach()), self.fake_label)
        d_real = lsgan(self.netD(real_B), self.real_label)
        ((d_fake + d_real) * 0.5).backward()
        self.optimizer_D.step()
        return {"D_real": d_real, "D_fake": d_fake}

    def update_generator(
        self,
        real_A: Tensor,
        real_B: Tensor,
        fake_B: Tensor,
        idt_B: Tensor | None,
        patch_ids: Sequence[np.ndarray] | None,
        flipped: bool,
    ) -> dict[str, Tensor]:
        """Take one step of G and F on the adversarial and the contrastive terms."""
        set_requires_grad(self.netD, False)
        self.optimizer_G.zero_grad()
        self.optimizer_F.zero_grad()
        losses = {"G_GAN": lsgan(self.netD(fake_B), self.real_label)}
        count = len(NCE_LAYERS)
        ids = (None, None) if patch_ids is None else (patch_ids[:count], patch_ids[count:])
        nce = losses["NCE"] = self.contrast(real_A, fake_B, ids[0], flipped)
        if self.mode.identity:
            losses["NCE_Y"] = self.contrast(real_B, idt_B, ids[1], flipped)
            nce = (nce + losses["NCE_Y"]) * 0.5
        losses["G"] = losses["G_GAN"] + nce
        losses["G"].backward()
        self.optimizer_G.step()
        self.optimizer_F.step()
        return losses

    def contrast(
        self, source: Tensor, target: Tensor, patch_ids: Sequence | None, flipped: bool
    ) -> Tensor:
        """Encode both images again and return the weighted PatchNCE loss, averaged over layers."""
        feat_q = self.netG(target, NCE_LAYERS, encode_only=True)
        if flipped:
            feat_q = [torch.flip(feature, [3]) for feature in feat_q]
        feat_k = self.netG(source, NCE_LAYERS, encode_only=True)
        keys, ids = self.netF(feat_k, self.num_patches, patch_ids)
        queries, _ = self.netF(feat_q, self.num_patches, ids)

        total = 0.0
        for query, key in zip(queries, keys, strict=True):
            total = total + patch_nce(query, key, source.shape[0]) * self.mode.nce_weight
        return total / len(NCE_LAYERS)
