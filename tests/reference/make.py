"""Make the numbers of this folder by running the official programs.

    python make.py --cut DIR --cyclegan DIR

DIR are clones of the authors' repositories (README.md names them and their commits); their
`models.networks`, `models.cut_model`, `models.cycle_gan_model` and `models.pix2pix_model` are
imported as they are. Weights and pictures are random float32 numbers; the programs compute in
float64 on one thread of a CPU, so that no rounding of theirs stands in the way. As elsewhere in
this project, instance norm is PyTorch's group norm of one channel a group, which is the same
function: PyTorch's own `instance_norm` returns a wrong gradient on the CPU for one picture and a
channels-last gradient.
"""

import argparse
import importlib
import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

HERE = Path(__file__).parent
STEPS = 3
SHARED = {
    "input_nc": 3, "output_nc": 3, "isTrain": True, "gpu_ids": [], "checkpoints_dir": "",
    "name": "", "preprocess": "none", "init_type": "normal", "init_gain": 0.1, "no_dropout": True,
    "n_layers_D": 3, "gan_mode": "lsgan", "lr": 2e-4, "beta1": 0.5, "beta2": 0.999,
    "batch_size": 1, "direction": "AtoB", "pool_size": 0, "netD": "basic", "verbose": False,
}  # fmt: skip
CUT = {
    **SHARED, "ngf": 2, "ndf": 2, "netG": "resnet_9blocks", "normG": "instance",
    "normD": "instance", "no_antialias": False, "no_antialias_up": False, "netF": "mlp_sample",
    "netF_nc": 16, "nce_T": 0.07, "num_patches": 64, "nce_layers": "0,4,8,12,16",
    "nce_includes_all_negatives_from_minibatch": False, "lambda_GAN": 1.0,
}  # fmt: skip
CUT_MODES = {
    "cut": {"lambda_NCE": 1.0, "nce_idt": True, "flip_equivariance": False},
    "fastcut": {"lambda_NCE": 10.0, "nce_idt": False, "flip_equivariance": True},
}


def enter(program: Path) -> ModuleType:
    """Import the `models.networks` of a clone, in place of any other one."""
    for name in [name for name in sys.modules if name.split(".")[0] in ("models", "util")]:
        del sys.modules[name]
    sys.path[0] = str(program)
    return importlib.import_module("models.networks")


def levels(*shape: int) -> torch.Tensor:
    """Return random pictures of 16 grey levels, uint8: they take half the room of 256."""
    return torch.randint(0, 16, shape, dtype=torch.uint8) * 17


def pictures(pixels: torch.Tensor) -> torch.Tensor:
    """Return levels as the float32 numbers in [-1, 1] that they are to us, in float64."""
    return (pixels.float() / 127.5 - 1).double()


def save(name: str, arrays: dict, state: dict | None = None) -> None:
    """Write NAME.npz and, where there are weights, NAME.pth."""
    values = {key: np.asarray(value) for key, value in arrays.items()}
    np.savez_compressed(HERE / f"{name}.npz", **values)
    if state is not None:
        torch.save(state, HERE / f"{name}.pth")


def randomize(network: nn.Module) -> nn.Module:
    """Give every weight and running statistic a value that counts."""
    for name, value in network.state_dict().items():
        if name.endswith(("filt", "kernel", "num_batches_tracked", "noise.weight")):
            continue  # constants, and noise that stays off
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif not name.endswith("weight") or value.dim() == 1:
            value.add_(0.1 * torch.randn_like(value))
    return network


@torch.no_grad()
def save_network(name: str, network: nn.Module, size_px: int, channels: int = 3, taps=()) -> None:
    """Write a network's weights, a picture and what it makes of it in eval mode."""
    randomize(network).eval()
    state = {key: value.clone() for key, value in network.state_dict().items()}
    network.double()
    arrays = {"input": levels(1, channels, size_px, size_px)}
    image = pictures(arrays["input"])
    arrays["output"] = network(image)
    if taps:
        features = network(image, layers=list(taps), encode_only=True)
        arrays |= {f"tap_{tap}": value for tap, value in zip(taps, features, strict=True)}
    if name == "sincut_generator":
        arrays["input_wide"] = levels(1, 3, 32, 64)
        arrays["output_wide"] = network(pictures(arrays["input_wide"]))
    arrays = {k: v.float() if v.is_floating_point() else v for k, v in arrays.items()}
    save(name, arrays, state)


def save_networks(cut: ModuleType) -> None:
    """Write all networks alone; CUT's repository holds those of CycleGAN and pix2pix as well."""
    plain = {"init_type": "normal", "init_gain": 0.1}
    layers = (0, 4, 8, 12, 16)
    strided = {"no_antialias": True, "no_antialias_up": True}
    sizes = {"load_size": 64, "crop_size": 64, "stylegan2_G_num_downsampling": 1}
    sizes = Namespace(**sizes, D_patch_size=None, netG="stylegan2", netD="stylegan2")
    generator = cut.define_G(3, 3, 2, "resnet_9blocks", "instance", **plain)
    save_network("cut_generator", generator, 32, taps=layers)
    generator = cut.define_G(3, 3, 2, "resnet_6blocks", "instance", **plain, **strided)
    save_network("cyclegan_generator", generator, 32)
    generator = cut.define_G(3, 3, 2, "unet_128", "batch", use_dropout=True, **plain)
    save_network("pix2pix_generator", generator, 128)
    generator = cut.define_G(3, 3, 1, "stylegan2", "instance", opt=sizes, **plain)
    save_network("sincut_generator", generator, 64, taps=(0, 2, 4))
    discriminator = cut.define_D(3, 4, "basic", norm="instance", **plain)
    save_network("cut_discriminator", discriminator, 64)
    discriminator = cut.define_D(3, 4, "basic", norm="instance", no_antialias=True, **plain)
    save_network("cyclegan_discriminator", discriminator, 64)
    discriminator = cut.define_D(6, 4, "basic", norm="batch", no_antialias=True, **plain)
    save_network("pix2pix_discriminator", discriminator, 64, channels=6)
    discriminator = cut.define_D(3, 4, "pixel", norm="batch", **plain)
    save_network("pixel_discriminator", discriminator, 16)
    discriminator = cut.define_D(3, 1, "stylegan2", norm="instance", opt=sizes, **plain)
    save_network("sincut_discriminator", discriminator, 64)


def save_trace(name: str, model, size_px: int, recorded=dict) -> None:
    """Write the initial weights, the pictures and the losses of the first steps of a program."""
    arrays = {}
    for network in model.model_names:
        state = vars(model)[f"net{network}"].state_dict()
        arrays |= {f"initial/{network}/{key}": value.clone() for key, value in state.items()}
        vars(model)[f"net{network}"].double()
    model.criterionGAN.double()
    for step in range(1, STEPS + 1):
        sides = {side: levels(1, 3, size_px, size_px) for side in ("source", "target")}
        source, target = (pictures(side) for side in sides.values())
        model.set_input({"A": source, "B": target, "A_paths": [], "B_paths": []})
        model.optimize_parameters()
        arrays |= {f"step{step}/{side}": value for side, value in sides.items()}
        arrays |= {f"step{step}/{key}": value for key, value in recorded().items()}
        for loss in model.loss_names:
            value = vars(model)[f"loss_{loss}"]
            number = float(torch.as_tensor(value).detach())
            if number != number:
                raise ValueError(f"{name}: the program's {loss} is NaN in step {step}")
            arrays[f"step{step}/loss/{loss}"] = np.float64(number)
    for network in model.model_names:  # weights move by rounding too, running statistics do not
        for key, value in vars(model)[f"net{network}"].state_dict().items():
            if "running" in key or "num_batches" in key:
                arrays[f"final/{network}/{key}"] = value
    save(f"{name}_three_steps", arrays)


def save_cut_trace(name: str) -> None:
    """Write the first steps of CUT or FastCUT, with the patches and the coins that it draws."""
    program = importlib.import_module("models.cut_model")
    model = program.CUTModel(Namespace(**CUT, **CUT_MODES[name]))
    first = {side: pictures(levels(1, 3, 32, 32)).float() for side in "AB"}
    model.data_dependent_initialize({**first, "A_paths": [], "B_paths": []})  # makes netF
    randomize(model.netF)  # with its biases of 0 a patch of zeros makes the program's losses NaN
    drawn = []
    forward = model.netF.forward

    def recording(features, num_patches=64, patch_ids=None):
        found, ids = forward(features, num_patches, patch_ids)
        if patch_ids is None:
            drawn.extend(np.asarray(part) for part in ids)
        return found, ids

    model.netF.forward = recording

    def recorded() -> dict:
        values = {f"patch_ids/{place}": ids for place, ids in enumerate(drawn)}
        drawn.clear()
        if model.opt.flip_equivariance:
            values["flipped"] = np.bool_(model.flipped_for_equivariance)
        return values

    save_trace(name, model, 32, recorded)


def main() -> None:
    """Run both programs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cut", type=Path, required=True, help="clone of CUT's repository")
    parser.add_argument("--cyclegan", type=Path, required=True, help="clone of CycleGAN's")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    # Packages that the programs import for their pages and their automatic choices of a GPU.
    for name in ("dominate", "dominate.tags", "visdom", "GPUtil"):
        sys.modules[name] = MagicMock()
    torch.Tensor.cuda = lambda self: self  # SinCUT's generator asks for a GPU
    nn.InstanceNorm2d.forward = lambda self, x: F.group_norm(x, x.shape[1], eps=self.eps)

    cut = enter(arguments.cut)
    torch.manual_seed(0)
    save_networks(cut)
    for name in CUT_MODES:
        np.random.seed(1)
        torch.manual_seed(1)
        save_cut_trace(name)

    enter(arguments.cyclegan)
    torch.manual_seed(2)
    program = importlib.import_module("models.cycle_gan_model")
    options = {**SHARED, "ngf": 2, "ndf": 2, "netG": "resnet_6blocks", "norm": "instance"}
    options |= {"lambda_A": 10.0, "lambda_B": 10.0, "lambda_identity": 0.5}
    save_trace("cyclegan", program.CycleGANModel(Namespace(**options)), 32)
    program = importlib.import_module("models.pix2pix_model")
    options = {**SHARED, "ngf": 2, "ndf": 4, "netG": "unet_128", "norm": "batch"}
    options |= {"gan_mode": "vanilla", "lambda_L1": 100.0, "init_gain": 0.02}
    save_trace("pix2pix", program.Pix2PixModel(Namespace(**options)), 128)


if __name__ == "__main__":
    main()
