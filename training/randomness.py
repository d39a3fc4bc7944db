"""Randomness as a pure function of the seed and the images seen."""

import hashlib

import torch


def seed_for(seed: int, images_seen: int, purpose: str) -> int:
    """Return a 63-bit seed that depends only on the three arguments."""
    digest = hashlib.blake2b(f"{purpose}/{seed}/{images_seen}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator_for(
    device: torch.device, seed: int, images_seen: int, purpose: str
) -> torch.Generator:
    """Return a fresh generator on `device` for `purpose` at `images_seen`."""
    return torch.Generator(device).manual_seed(seed_for(seed, images_seen, purpose))


class StepRandomness:
    """The generators of a step by purpose: each draws what one of `generator_for` would.

    The objects stay the same over the steps, so that a captured step can draw from them.
    """

    def __init__(self, device: torch.device, seed: int):
        self.device, self.seed = device, seed
        self.images_seen = 0
        self.generators: dict[str, torch.Generator] = {}

    def start(self, images_seen: int) -> None:
        """Seed all generators for the step that begins at `images_seen`."""
        self.images_seen = images_seen
        for purpose, generator in self.generators.items():
            generator.manual_seed(seed_for(self.seed, images_seen, purpose))

    def generator(self, purpose: str) -> torch.Generator:
        """Return the purpose's generator: at its first call in a step as `start` seeded it."""
        if purpose not in self.generators:
            self.generators[purpose] = generator_for(
                self.device, self.seed, self.images_seen, purpose
            )
        return self.generators[purpose]
