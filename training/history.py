"""Pools of earlier fakes for the discriminator."""

import torch
from torch import Tensor


class RefinedHistory:
    """SimGAN's buffer: half of each discriminator batch comes from earlier refined pictures.

    `mix` returns the first half of the new batch and as many pictures from the buffer, then
    replaces random pictures of the buffer by half of the new batch. Until the buffer is full, new
    batches are added to it and returned unchanged.
    Source: Shrivastava et al. 2017, section 2.3.
    """

    def __init__(self, size: int):
        self.size = size
        self.stored: Tensor | None = None  # [at most size, C, H, W]

    def __len__(self) -> int:
        """Return how many pictures are stored."""
        return 0 if self.stored is None else len(self.stored)

    def mix(self, fakes: Tensor, generator: torch.Generator) -> Tensor:
        """Return [B, C, H, W] of new and old pictures for new `fakes` [B, C, H, W], B even.

        The result is detached. All pictures of a run must have the same size.
        """
        fakes = fakes.detach()
        half = len(fakes) // 2
        if self.stored is None:
            self.stored = fakes[:0].clone()
        self.stored = self.stored.to(fakes.device)  # loaded on the CPU from a checkpoint
        if len(self.stored) < max(self.size, half):
            self.stored = torch.cat([self.stored, fakes])[: max(self.size, half)]
            return fakes
        order = torch.randperm(len(self.stored), generator=generator, device=generator.device)
        chosen = order[:half].to(fakes.device)
        replaced = order[-half:].to(fakes.device)
        mixed = torch.cat([fakes[: len(fakes) - half], self.stored[chosen]])
        self.stored[replaced] = fakes[len(fakes) - half :]
        return mixed

    def state_dict(self) -> dict:
        """Return the stored pictures."""
        return {"stored": self.stored}

    def load_state_dict(self, state: dict) -> None:
        """Restore saved pictures."""
        self.stored = state["stored"]


class FakePool:
    """CycleGAN's pool: half of the fakes that the discriminator sees are earlier ones.

    For each picture: while fewer than `size` are stored, the new one is stored and returned;
    afterwards, with probability 1/2, a random stored one is returned and replaced by the new one,
    else the new one is returned and not stored.
    Source: Zhu et al. 2017, section 4, and their program; after Shrivastava et al. 2017.
    """

    def __init__(self, size: int):
        self.size = size
        self.stored: list[Tensor] = []  # each [C, H, W]; sizes may differ

    def mix(self, fakes: Tensor, generator: torch.Generator) -> Tensor:
        """Return [B, C, H, W] of new and old pictures for new `fakes` [B, C, H, W].

        The result is detached. generator: on the CPU, so that nothing synchronises with a GPU. A
        stored picture of another size is not returned; the new one replaces it and is returned.
        """
        mixed = []
        for fake in fakes.detach():
            if len(self.stored) < self.size:
                self.stored.append(fake.clone())
                mixed.append(fake)
                continue
            coin = torch.rand((), generator=generator).item()
            place = int(torch.randint(self.size, (), generator=generator))
            if coin <= 0.5:
                mixed.append(fake)
                continue
            old = self.stored[place].to(fake.device)  # loaded on the CPU from a checkpoint
            self.stored[place] = fake.clone()
            mixed.append(old if old.shape == fake.shape else fake)
        return torch.stack(mixed)

    def state_dict(self) -> dict:
        """Return the stored pictures."""
        return {"stored": list(self.stored)}

    def load_state_dict(self, state: dict) -> None:
        """Restore saved pictures."""
        self.stored = list(state["stored"])
