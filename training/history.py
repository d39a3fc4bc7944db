"""A pool of earlier fakes for the discriminator."""

import torch
from torch import Tensor


class RefinedHistory:
    """SimGAN's buffer: half of each discriminator batch comes from earlier refined pictures.

    `mix` hands back the first half of the new batch and as many pictures from the buffer, then lets
    half of the new batch replace random ones of the buffer. While the buffer is not yet full it
    is filled instead, and the new batch comes back whole.
    Source: Shrivastava et al. 2017, section 2.3.
    """

    def __init__(self, size: int):
        self.size = size
        self.stored: Tensor | None = None  # [at most size, C, H, W]

    def mix(self, fakes: Tensor, generator: torch.Generator) -> Tensor:
        """Return [B, C, H, W] of new and old pictures for new `fakes` [B, C, H, W], B even.

        Nothing carries a gradient. Pictures must keep their size over the run.
        """
        fakes = fakes.detach()
        half = len(fakes) // 2
        if self.stored is None:
            self.stored = fakes[:0].clone()
        self.stored = self.stored.to(fakes.device)  # a checkpoint is read to the CPU
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
        """Take over saved pictures."""
        self.stored = state["stored"]
