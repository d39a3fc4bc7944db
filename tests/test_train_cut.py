"""CUT: the official traces, gradients, several processes, resume, and the real command."""

import re

import pytest
import torch

import data
import train_cut
import training
from models.official import normalize_state

CPU = torch.device("cpu")
TINY = {
    "base_channels": 4,
    "discriminator_channels": 4,
    "generator": "resnet_6blocks",
    "nce_channels": 8,
    "nce_patches": 16,
    "load_size": 40,
    "crop_size": 32,
}


def options(preset="cut", **values):
    return train_cut.Options(**{**train_cut.PRESETS[preset], "preset": preset, **values})


def method(chosen, processes=None):
    return train_cut.Cut(chosen, CPU, processes or training.Processes(), epoch_images=100)


class ScriptedDraws:
    """The positions and coins of an official trace, in drawing order."""

    def __init__(self, arrays, step):
        self.arrays, self.step, self.drawn = arrays, step, 0

    def flipped(self):
        return bool(self.arrays[f"step{self.step}/flipped"])

    def positions(self, features):
        first, self.drawn = self.drawn, self.drawn + len(features)
        return [self.arrays[f"step{self.step}/patch_ids/{i}"] for i in range(first, self.drawn)]


OFFICIAL_NAMES = {
    "adversarial": "G_GAN",
    "discriminator_real": "D_real",
    "discriminator_fake": "D_fake",
    "generator": "G",
    "nce": "NCE",
    "nce_identity": "NCE_Y",
}


@pytest.mark.parametrize("preset", ["cut", "fastcut"])
def test_three_steps_give_the_official_losses(preset, reference):
    arrays = reference(f"{preset}_three_steps")[1]
    cut = method(
        options(
            preset,
            base_channels=8,
            discriminator_channels=8,
            nce_channels=32,
            nce_patches=64,
            crop_size=64,
        )
    )
    for network, letter in zip(cut.networks.values(), "GDF", strict=True):
        prefix = f"initial/{letter}/"
        state = {k[len(prefix) :]: v for k, v in arrays.items() if k.startswith(prefix)}
        state = {re.sub(r"^mlp_", "heads.", k): v for k, v in normalize_state(state).items()}
        network.load_state_dict(state)
    for step in (1, 2, 3):
        batch = data.TranslationBatch(arrays[f"step{step}/source"], arrays[f"step{step}/target"])
        losses = cut.update(batch, ScriptedDraws(arrays, step))
        assert len(losses) == (6 if preset == "cut" else 5)
        for name, value in losses.items():
            official = arrays[f"step{step}/loss/{OFFICIAL_NAMES[name]}"].item()
            assert value.item() == pytest.approx(official, rel=1e-4), (step, name)


def random_batch(batch, size=32, seed=0):
    random = torch.Generator().manual_seed(seed)
    source, target = torch.rand(2, batch, 3, size, size, generator=random) * 2 - 1
    return data.TranslationBatch(source, target)


def generator_gradients(cut, batch):
    """The gradients of the whole generator loss, by the functions that the step calls."""
    draws = train_cut.Draws(torch.Generator().manual_seed(5), cut.options.nce_patches)
    inputs = torch.cat(batch)
    outputs, keys = cut._translate(inputs, mirrored=False)
    total, _ = cut._generator_loss(inputs, outputs, keys, False, draws)
    cut._descend_backward(total)
    return {
        f"{name}.{key}": parameter.grad
        for name in ("generator", "projector")
        for key, parameter in cut.networks[name].named_parameters()
    }
