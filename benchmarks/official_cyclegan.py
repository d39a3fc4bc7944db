"""The official CycleGAN training step, reimplemented literally: the baseline of our timings.

Cycle-consistent translation (Zhu, Park, Isola, Efros, "Unpaired Image-to-Image Translation using
Cycle-Consistent Adversarial Networks", ICCV 2017). It imports only what the official programs
share, from official_cut.py and official_networks.py in this folder, so that no improvement of ours
reaches the baseline by accident. It loads the official state dicts and reproduces the losses of the
official program (tests/benchmarks/test_official_cyclegan.py).

It is slow on purpose. Do not optimise it: each of these is something that the official program
does, and that a faster step gains by avoiding:

- Each generator processes the real images of both domains in separate passes: G_A(real_A) for the
  translation, G_A(real_B) for the identity. Instance norm treats images independently, so one
  batch would give the same numbers.
- Real and fake images go through each discriminator in separate passes, and each discriminator's
  update has a backward pass of its own: six discriminator passes at batch size 1.
- Convolutions before an instance norm have a bias that the norm cancels, and Adam updates it.
- Reflection padding is a layer that writes an enlarged copy of the map before the convolution.
- The history pool splits a batch and concatenates it again, even for a single image, and copies
  the stored image that it returns.
- Both discriminators are frozen and unfrozen by a loop over their parameters, in every step.
- Arithmetic is float32 (TF32 where PyTorch's defaults allow it) in NCHW order.

Where this differs from the official program, and in whose favour:

- No DataParallel wrapper around the networks, and no visualiser: in favour of the baseline.
- Pictures are already on the device when a step begins, instead of being copied from pageable
  memory in each step; the pictures of a step are freed at its end instead of being kept for
  display: both in favour of the baseline.
- Losses are read from the device at the end of each step; the official program reads them every
  hundredth step. This is to the baseline's disadvantage if a step waits for nothing else, but the
  copies omitted above make the official one wait, too. Compare it with a step that also reads its
  losses.
- Random numbers come from generators of its own, seeded by `seed`: the weights, and the pools'
  choices, which the official program draws from Python's global `random`. No effect on the time.

The trap that official_cut.py describes, torch's instance norm on the CPU, needs a gradient in
channels-last order; none arrives in that order here, and its gradients agree with float64's. The
official numbers were made with `one_channel_group_norm` all the same: with it three steps agree
with them to 1e-6, with instance norm's other order of sums to 3e-4.
"""

import itertools
import random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.official_cut import (
    BETAS,
    LEARNING_RATE,
    NormLayer,
    ResnetBlock,
    conv_norm_relu,
    instance_norm,
    lsgan,
    set_requires_grad,
)
from benchmarks.official_networks import PatchDiscriminator, initialise

LAMBDA_A = 10.0
LAMBDA_B = 10.0
LOSS_NAMES = ("D_A", "G_A", "cycle_A", "idt_A", "D_B", "G_B", "cycle_B", "idt_B")


# Networks: layer numbers and parameter names are the official ones.


def down(inputs: int, outputs: int, norm_layer: NormLayer) -> list[nn.Module]:
    """Return the three layers that halve the size."""
    conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
    return [conv, norm_layer(outputs), nn.ReLU(inplace=True)]


def up(inputs: int, outputs: int, norm_layer: NormLayer) -> list[nn.Module]:
    """Return the three layers that double the size."""
    conv = nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)
    return [conv, norm_layer(outputs), nn.ReLU(inplace=True)]


class ResnetGenerator(nn.Module):
    """The ResNet of CycleGAN, with strided and transposed convolutions."""

    def __init__(self, ngf: int, norm_layer: NormLayer, blocks: int = 9):
        super().__init__()
        self.model = nn.Sequential(
            nn.ReflectionPad2d(3),
            *conv_norm_relu(3, ngf, norm_layer, size=7, padding=0),
            *down(ngf, 2 * ngf, norm_layer),
            *down(2 * ngf, 4 * ngf, norm_layer),
            *(ResnetBlock(4 * ngf, norm_layer) for _ in range(blocks)),
            *up(4 * ngf, 2 * ngf, norm_layer),
            *up(2 * ngf, ngf, norm_layer),
            nn.ReflectionPad2d(3),
            nn.Conv2d(ngf, 3, 7),
            nn.Tanh(),
        )

    def forward(self, image: Tensor) -> Tensor:
        """[N, 3, H, W] -> the same shape, for H and W divisible by 4."""
        return self.model(image)


class ImagePool:
    """A history of fakes; half of the time a discriminator gets a random one of them."""

    def __init__(self, size: int, rng: random.Random):
        self.size = size
        self.rng = rng
        self.images: list[Tensor] = []

    def query(self, images: Tensor) -> Tensor:
        """Return each new image of [N, C, H, W] or a stored one, which the new one replaces."""
        if self.size == 0:
            return images
        shown = []
        for image in images:
            image = torch.unsqueeze(image.detach(), 0)
            if len(self.images) < self.size:
                self.images.append(image)
                shown.append(image)
            elif self.rng.uniform(0, 1) > 0.5:
                slot = self.rng.randint(0, self.size - 1)
                shown.append(self.images[slot].clone())
                self.images[slot] = image
            else:
                shown.append(image)
        return torch.cat(shown, 0)


class OfficialCycleGan:
    """Networks, optimisers and the training step of the official program.

    G_A translates A to B, and D_A discriminates B. norm_layer: builds the norm for a number of
    channels. pool_size: fakes in each history, 0 for none. lambda_identity: 0 leaves the identity
    terms out. The constructor turns on `torch.backends.cudnn.benchmark` for the whole process, as
    the official one does. The networks may be loaded with official state dicts; they stay on
    `device`.
    """

    def __init__(
        self,
        *,
        ngf: int = 64,
        ndf: int = 64,
        blocks: int = 9,
        pool_size: int = 50,
        lambda_identity: float = 0.5,
        norm_layer: NormLayer = instance_norm,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ):
        torch.backends.cudnn.benchmark = True
        self.lambda_identity = lambda_identity
        self.netG_A = ResnetGenerator(ngf, norm_layer, blocks)
        self.netG_B = ResnetGenerator(ngf, norm_layer, blocks)
        self.netD_A = PatchDiscriminator(3, ndf, norm_layer, bias=True)
        self.netD_B = PatchDiscriminator(3, ndf, norm_layer, bias=True)
        rng = random.Random(seed)
        self.fake_A_pool = ImagePool(pool_size, rng)
        self.fake_B_pool = ImagePool(pool_size, rng)

        self.real_label = torch.tensor(1.0, device=device)
        self.fake_label = torch.tensor(0.0, device=device)
        generator = torch.Generator().manual_seed(seed)
        for network in (self.netG_A, self.netG_B, self.netD_A, self.netD_B):
            initialise(network, generator)
            network.to(device)
        both_G = itertools.chain(self.netG_A.parameters(), self.netG_B.parameters())
        both_D = itertools.chain(self.netD_A.parameters(), self.netD_B.parameters())
        self.optimizer_G = torch.optim.Adam(both_G, LEARNING_RATE, BETAS)
        self.optimizer_D = torch.optim.Adam(both_D, LEARNING_RATE, BETAS)

    def step(self, real_A: Tensor, real_B: Tensor) -> dict[str, float]:
        """Update both G, then both D, from one batch; return the losses as officially reported.

        real_A, real_B: float [N, 3, H, W] in [-1, 1]. D_A and D_B are reported after their factor
        0.5, the cycle and identity terms after their weights.
        """
        fake_B = self.netG_A(real_A)
        rec_A = self.netG_B(fake_B)
        fake_A = self.netG_B(real_B)
        rec_B = self.netG_A(fake_A)
        losses = self.update_generators(real_A, real_B, fake_A, fake_B, rec_A, rec_B)
        losses |= self.update_discriminators(real_A, real_B, fake_A, fake_B)
        return {name: losses[name].item() for name in LOSS_NAMES}

    def update_generators(
        self,
        real_A: Tensor,
        real_B: Tensor,
        fake_A: Tensor,
        fake_B: Tensor,
        rec_A: Tensor,
        rec_B: Tensor,
    ) -> dict[str, Tensor]:
        """Take one step of both G on the adversarial, cycle and identity terms."""
        self.freeze_discriminators(True)
        self.optimizer_G.zero_grad()
        losses = dict.fromkeys(("idt_A", "idt_B"), torch.tensor(0.0))
        if self.lambda_identity > 0:
            idt_A = self.netG_A(real_B)
            losses["idt_A"] = F.l1_loss(idt_A, real_B) * LAMBDA_B * self.lambda_identity
            idt_B = self.netG_B(real_A)
            losses["idt_B"] = F.l1_loss(idt_B, real_A) * LAMBDA_A * self.lambda_identity
        losses["G_A"] = lsgan(self.netD_A(fake_B), self.real_label)
        losses["G_B"] = lsgan(self.netD_B(fake_A), self.real_label)
        losses["cycle_A"] = F.l1_loss(rec_A, real_A) * LAMBDA_A
        losses["cycle_B"] = F.l1_loss(rec_B, real_B) * LAMBDA_B
        adversarial = losses["G_A"] + losses["G_B"]
        total = adversarial + losses["cycle_A"] + losses["cycle_B"]
        (total + losses["idt_A"] + losses["idt_B"]).backward()
        self.optimizer_G.step()
        return losses

    def update_discriminators(
        self, real_A: Tensor, real_B: Tensor, fake_A: Tensor, fake_B: Tensor
    ) -> dict[str, Tensor]:
        """Take one step of both D; D_A's pool draws before D_B's."""
        self.freeze_discriminators(False)
        self.optimizer_D.zero_grad()
        shown_B = self.fake_B_pool.query(fake_B)
        loss_A = self.discriminator_backward(self.netD_A, real_B, shown_B)
        shown_A = self.fake_A_pool.query(fake_A)
        loss_B = self.discriminator_backward(self.netD_B, real_A, shown_A)
        self.optimizer_D.step()
        return {"D_A": loss_A, "D_B": loss_B}

    def freeze_discriminators(self, frozen: bool) -> None:
        """Freeze or unfreeze the parameters of both D."""
        for network in (self.netD_A, self.netD_B):
            set_requires_grad(network, not frozen)

    def discriminator_backward(self, network: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """Accumulate the gradients of 0.5 * (real + fake); return that loss."""
        d_real = lsgan(network(real), self.real_label)
        d_fake = lsgan(network(fake.detach()), self.fake_label)
        loss = (d_real + d_fake) * 0.5
        loss.backward()
        return loss
