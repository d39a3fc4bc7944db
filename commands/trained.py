"""The networks that a method trains, with their optimisers and moving averages."""

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

import models
import training
from commands.options import RunOptions

T = TypeVar("T")


class TrainedNetworks:
    """Networks by name, Adam for each, and optionally a moving average of each generator.

    A generator is a network whose name begins with `generator`. networks, optimizers and averages
    are dictionaries with the networks' names as keys. `random` holds the generators of a step,
    `exported` the networks to be written, by file name.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        options: RunOptions,
        device: torch.device,
        *,
        learning_rate: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        averaged: bool | Collection[str],
        optimizer: Callable[[nn.Module], torch.optim.Optimizer] | None = None,
        exported: Mapping[str, nn.Module] | None = None,
        noise: Sequence[models.NoiseSource] = (),
        layout: torch.memory_format = torch.contiguous_format,
    ):
        """Build the optimisers and averages of networks that are on their device.

        learning_rate, betas: of Adam; optimizer: makes another one for a network. averaged:
        whether generators have a moving average, or the names of the networks that have one.
        exported: the networks to be written, by file name; by default `generators`. noise: where
        layers of the networks draw from. layout: of weights and pictures.
        """
        self.networks, self.noise = dict(networks), tuple(noise)
        self.layout = layout
        for network in self.networks.values():
            network.to(memory_format=layout)
        self.random = training.StepRandomness(device, options.seed)
        make = optimizer or partial(training.adam, learning_rate=learning_rate, betas=betas)
        self.optimizers = {name: make(network) for name, network in networks.items()}
        if isinstance(averaged, bool):
            averaged = [name for name in networks if averaged and is_generator(name)]
        self.averages = {name: training.MovingAverage(networks[name]) for name in averaged}
        self.exported = self.generators if exported is None else dict(exported)
        if options.accelerate == "compile":
            for network in self.networks.values():
                models.compile_network(network)
        self.capture = None
        if options.accelerate in ("auto", "graph") and training.can_capture(device):
            self.capture = training.StepCapture(options.accelerate, device)

    def run(self, part: str, key: Hashable, function: Callable[..., T], *inputs: Tensor) -> T:
        """Return function(*inputs): a part of the step, which `--accelerate` may capture.

        key and what the function may depend on: see `training.StepCapture.run`. Its random numbers
        come from `random` and from the networks' noise.
        """

        inputs = [x.contiguous(memory_format=self.layout) for x in inputs]

        def with_casts(*inputs: Tensor) -> T:
            with training.weights_cast_once():
                return function(*inputs)

        if not self.capture:
            return with_casts(*inputs)
        of_layers = [source.generator for source in self.noise if source.generator]
        generators = [*self.random.generators.values(), *of_layers]
        return self.capture.run(part, key, with_casts, inputs, generators)

    def optimize(self, *names: str) -> None:
        """Make an optimiser step for each of these networks and clear their gradients."""
        for name in names:
            training.optimizer_step(self.networks[name], self.optimizers[name])

    def state(self) -> dict[str, training.Stateful]:
        """Return everything to be saved, by name in the checkpoint."""
        parts: dict[str, training.Stateful] = dict(self.networks)
        parts |= {f"{name}_optimizer": part for name, part in self.optimizers.items()}
        return parts | {f"{name}_average": part for name, part in self.averages.items()}

    @property
    def generators(self) -> dict[str, nn.Module]:
        """The generators to export, by file name: the moving averages if there are any."""
        return {
            f"{name}.safetensors": self.averages[name].network if self.averages else network
            for name, network in self.networks.items()
            if is_generator(name)
        }


def is_generator(name: str) -> bool:
    """Return whether a network with this name is a generator."""
    return name.startswith("generator")
