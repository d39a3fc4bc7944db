"""The networks that a method trains, with their optimisers and moving averages."""

from collections.abc import Mapping

from torch import nn

import training


class TrainedNetworks:
    """Networks by name, Adam for each, and optionally a moving average of each generator.

    A generator is a network whose name begins with `generator`. networks, optimizers and averages
    are dictionaries with the networks' names as keys.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        learning_rate: float,
        betas: tuple[float, float],
        *,
        averaged: bool,
    ):
        """Build the optimisers and averages; the networks must be on their device."""
        self.networks = dict(networks)
        self.optimizers = {
            name: training.adam(network, learning_rate, betas) for name, network in networks.items()
        }
        self.averages = {
            name: training.MovingAverage(network)
            for name, network in networks.items()
            if averaged and is_generator(name)
        }

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
