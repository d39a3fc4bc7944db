"""The official pix2pix training step, reimplemented literally: the baseline of our timings.

Translation learned from pairs (Isola, Zhu, Zhou, Efros, "Image-to-Image Translation with
Conditional Adversarial Networks", CVPR 2017). It imports only what the official programs share,
from official_cut.py and official_networks.py in this folder, so that no improvement of ours reaches
the baseline by accident. It loads the official state dicts and reproduces the losses of the
official program (tests/benchmarks/test_official_pix2pix.py).

It is slow on purpose. Do not optimise it: each of these is something that the official program
does, and that a faster step gains by avoiding:

- Every skip connection of the U-Net is a copy: a level's input and output are written once more
  into a concatenated map, instead of directly into its halves.
- Source and target are concatenated to six channels for the discriminator three times per step, the
  pair with the fake twice.
- The running means and variances of batch norm are updated in every forward pass, also in the
  discriminator's pass for the generator's update; nothing in training reads them.
- Dropout, if used, is a layer of its own that stores its mask.
- The discriminator is frozen and unfrozen by a loop over its parameters, in every step.
- Arithmetic is float32 (TF32 where PyTorch's defaults allow it) in NCHW order.

Not waste, although it looks like it: real and fake pairs go through the discriminator in separate
passes. Batch norm takes its statistics from the pass, so one batch of both would compute another
function. And the fake pair goes through it a second time because its weights have changed.

Where this differs from the official program, and in whose favour:

- No DataParallel wrapper around the networks, and no visualiser: in favour of the baseline.
- No history pool, which pix2pix sets to a size of 0: no effect on the time.
- Pictures are already on the device when a step begins, instead of being copied from pageable
  memory in each step; the pictures of a step are freed at its end instead of being kept for
  display: both in favour of the baseline.
- Losses are read from the device at the end of each step; the official program reads them every
  hundredth step. This is to the baseline's disadvantage if a step waits for nothing else, but the
  copies omitted above make the official one wait, too. Compare it with a step that also reads its
  losses.
- Initial weights come from a generator of its own, seeded by `seed`, not from PyTorch's global one.
  Dropout draws from the global one, as in the official program.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.official_cut import BETAS, LEARNING_RATE, set_requires_grad
from benchmarks.official_networks import PatchDiscriminator, initialise

# Networks: layer numbers and parameter names are the official ones.


def halve(inputs: int, outputs: int) -> nn.Module:
    """Return a convolution of the contracting path; it has no bias."""
    return nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)


def double(inputs: int, outputs: int, bias: bool = False) -> nn.Module:
    """Return a transposed convolution of the expanding path."""
    return nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=bias)


class SkipBlock(nn.Module):
    """A level of the U-Net below the outermost: its input concatenated with its output.

    outer, inner: channels outside and inside the level. inside: the next level, None for the
    innermost. The first layer modifies the input in place before the skip connection reads it.
    """

    def __init__(
        self, outer: int, inner: int, inside: nn.Module | None = None, dropout: bool = False
    ):
        super().__init__()
        layers = [nn.LeakyReLU(0.2, inplace=True), halve(outer, inner)]
        if inside is not None:
            layers += [nn.BatchNorm2d(inner), inside]
        width = inner if inside is None else 2 * inner
        layers += [nn.ReLU(inplace=True), double(width, outer), nn.BatchNorm2d(outer)]
        if dropout:
            layers.append(nn.Dropout(0.5))
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """[N, outer, H, W] -> [N, 2 * outer, H, W]."""
        return torch.cat([x, self.model(x)], 1)


class OutermostBlock(nn.Module):
    """The first and the last convolution; the only level without norm and skip connection."""

    def __init__(self, ngf: int, inside: nn.Module):
        super().__init__()
        last = double(2 * ngf, 3, bias=True)
        self.model = nn.Sequential(halve(3, ngf), inside, nn.ReLU(inplace=True), last, nn.Tanh())

    def forward(self, image: Tensor) -> Tensor:
        """[N, 3, H, W] -> the same shape."""
        return self.model(image)


class UnetGenerator(nn.Module):
    """The U-Net of pix2pix with `num_downs` levels, built from the innermost outwards."""

    def __init__(self, ngf: int, num_downs: int = 8, dropout: bool = True):
        super().__init__()
        block = SkipBlock(8 * ngf, 8 * ngf)
        for _ in range(num_downs - 5):
            block = SkipBlock(8 * ngf, 8 * ngf, block, dropout)
        block = SkipBlock(4 * ngf, 8 * ngf, block)
        block = SkipBlock(2 * ngf, 4 * ngf, block)
        block = SkipBlock(ngf, 2 * ngf, block)
        self.model = OutermostBlock(ngf, block)

    def forward(self, image: Tensor) -> Tensor:
        """[N, 3, H, W] -> the same shape, for H and W divisible by 2 ** num_downs."""
        return self.model(image)


def vanilla(logits: Tensor, label: Tensor) -> Tensor:
    """Return the mean binary cross entropy of all logits against the scalar `label`."""
    return F.binary_cross_entropy_with_logits(logits, label.expand_as(logits))


class OfficialPix2Pix:
    """Networks, optimisers and the training step of the official program.

    num_downs: 8 for pictures of 256 pixels, 7 for 128; dropout: in the num_downs - 5 levels around
    the innermost. The constructor turns on `torch.backends.cudnn.benchmark` for the whole process,
    as the official one does. Official state dicts can be loaded; the networks stay on `device`.
    """

    def __init__(
        self,
        *,
        ngf: int = 64,
        ndf: int = 64,
        num_downs: int = 8,
        dropout: bool = True,
        lambda_L1: float = 100.0,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ):
        torch.backends.cudnn.benchmark = True
        self.lambda_L1 = lambda_L1
        self.netG = UnetGenerator(ngf, num_downs, dropout)
        self.netD = PatchDiscriminator(6, ndf, nn.BatchNorm2d, bias=False)

        self.real_label = torch.tensor(1.0, device=device)
        self.fake_label = torch.tensor(0.0, device=device)
        generator = torch.Generator().manual_seed(seed)
        for network in (self.netG, self.netD):
            initialise(network, generator)
            network.to(device)
        self.optimizer_G = torch.optim.Adam(self.netG.parameters(), LEARNING_RATE, BETAS)
        self.optimizer_D = torch.optim.Adam(self.netD.parameters(), LEARNING_RATE, BETAS)

    def step(self, real_A: Tensor, real_B: Tensor) -> dict[str, float]:
        """Update D, then G, from one batch of pairs; return the losses as the program reports them.

        real_A, real_B: float [N, 3, H, W] in [-1, 1]. G_L1 is reported after its weight, D_real
        and D_fake before their factor 0.5.
        """
        fake_B = self.netG(real_A)
        discriminator = self.update_discriminator(real_A, real_B, fake_B)
        losses = self.update_generator(real_A, real_B, fake_B) | discriminator
        return {name: loss.item() for name, loss in losses.items()}

    def update_discriminator(
        self, real_A: Tensor, real_B: Tensor, fake_B: Tensor
    ) -> dict[str, Tensor]:
        """Take one step of D on 0.5 * (fake + real)."""
        set_requires_grad(self.netD, True)
        self.optimizer_D.zero_grad()
        fake_AB = torch.cat((real_A, fake_B), 1)
        d_fake = vanilla(self.netD(fake_AB.detach()), self.fake_label)
        real_AB = torch.cat((real_A, real_B), 1)
        d_real = vanilla(self.netD(real_AB), self.real_label)
        ((d_fake + d_real) * 0.5).backward()
        self.optimizer_D.step()
        return {"D_real": d_real, "D_fake": d_fake}

    def update_generator(self, real_A: Tensor, real_B: Tensor, fake_B: Tensor) -> dict[str, Tensor]:
        """Take one step of G on the adversarial term and the distance to the target."""
        set_requires_grad(self.netD, False)
        self.optimizer_G.zero_grad()
        fake_AB = torch.cat((real_A, fake_B), 1)
        g_gan = vanilla(self.netD(fake_AB), self.real_label)
        g_l1 = F.l1_loss(fake_B, real_B) * self.lambda_L1
        (g_gan + g_l1).backward()
        self.optimizer_G.step()
        return {"G_GAN": g_gan, "G_L1": g_l1}
