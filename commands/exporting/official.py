"""The options with which the official CycleGAN, pix2pix and CUT programs build a generator."""

from torch import nn

import models


def official_options(network: nn.Module) -> str:
    """Return the options with which the official programs build this generator."""
    sizes = network.sizes
    words = [f"--ngf {sizes.base_channels}"]
    if isinstance(network, models.Stylegan2Generator):
        small = "" if sizes.inject_noise else "small"
        return f"--netG {small}stylegan2 {words[0]} --crop_size {sizes.size_px}"
    words += [f"--input_nc {sizes.in_channels}", f"--output_nc {sizes.out_channels}"]
    if isinstance(network, models.UnetGenerator):
        words.insert(0, f"--netG unet_{2**sizes.halvings} --norm {sizes.norm}")
        words.append("(only unet_128 and unet_256 exist there)" * (sizes.halvings not in (7, 8)))
        return " ".join(words).rstrip()
    words.insert(0, f"--netG resnet_{sizes.blocks}blocks --norm {sizes.norm}")
    words += ["--no_dropout"] * (not sizes.dropout)
    if sizes.antialias_down or sizes.antialias_up:
        words += ["--no_antialias"] * (not sizes.antialias_down)
        words += ["--no_antialias_up"] * (not sizes.antialias_up)
        words = [word.replace("--norm", "--normG") for word in words] + ["(CUT's program)"]
    return " ".join(words)
