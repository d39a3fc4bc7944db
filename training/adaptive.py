"""Adaptive augmentation: its probability follows the discriminator's overfitting."""

import torch
from torch import Tensor

from training.distributed import add_over_processes


class AdaptiveAugmentation:
    """Adjusts the augmentation probability to keep the discriminator from overfitting to the reals.

    Every `every_steps` steps, with r = E sign(logits of reals) over those steps and all processes:
    p <- clamp(p + sign(r - target) * images / ramp_images, 0, 1), images counted over those steps.
    `probability` is p, a float32 scalar on the device that is changed in place, at first 0; nothing
    waits for the device.
    Source: Karras et al. 2020 (ADA), section 3, the heuristic r_t.

    Raises ValueError for a target outside [-1, 1] and counts below 1.
    """

    def __init__(
        self,
        device: torch.device,
        target: float = 0.6,
        ramp_images: int = 500_000,
        every_steps: int = 4,
    ):
        if not -1 <= target <= 1:
            raise ValueError(f"target {target}: not in [-1, 1], as a mean of signs is")
        for name, count in (("ramp_images", ramp_images), ("every_steps", every_steps)):
            if count < 1:
                raise ValueError(f"{name} {count} is below 1")
        self.target, self.ramp_images, self.every_steps = target, ramp_images, every_steps
        self.probability = torch.zeros((), device=device)
        # Sum of signs and number of logits: this process's, and those of all before a resume.
        self.signs = torch.zeros(2, dtype=torch.int64, device=device)
        self.restored_signs = torch.zeros_like(self.signs)
        self._begin()

    @torch.no_grad()
    def observe(self, real_logits: Tensor) -> None:
        """Count in the logits of a step's reals, on the device alone.

        real_logits: this process's, of any shape, minus the boundary between real and fake. NaN
        counts as neither. Raises ValueError if they are empty.
        """
        if not real_logits.numel():
            raise ValueError("real_logits is empty; a step without reals has no sign")
        signs = (real_logits > 0).sum() - (real_logits < 0).sum()
        self.signs += torch.stack([signs, torch.full_like(signs, real_logits.numel())])

    @torch.no_grad()
    def advance(self, steps: int, images: int) -> None:
        """Count steps that were observed and their images over all processes; turn p if due."""
        self.steps, self.images = self.steps + steps, self.images + images
        if self.steps >= self.every_steps:
            total, count = self._over_processes()
            change = (total / count - self.target).sign() * (self.images / self.ramp_images)
            self.probability.add_(change).clamp_(0, 1)
            self._begin()

    def state_dict(self) -> dict:
        """Return p and the counts since its last update; must be called in all processes."""
        return {
            "probability": self.probability.clone(),
            "signs": self._over_processes(),
            "steps": self.steps,
            "images": self.images,
        }

    def load_state_dict(self, state: dict) -> None:
        """Restore what `state_dict` returned."""
        self._begin()
        self.probability.copy_(state["probability"])
        self.restored_signs.copy_(state["signs"])
        self.steps, self.images = state["steps"], state["images"]

    def _begin(self) -> None:
        self.steps = self.images = 0
        self.signs.zero_()
        self.restored_signs.zero_()

    def _over_processes(self) -> Tensor:
        return self.restored_signs + add_over_processes(self.signs.clone())
