"""How often an attack asks a model."""

from collections.abc import Callable

from torch import Tensor, nn


class Counted(nn.Module):
    """A model that counts the pictures which pass through it, forward and backward."""

    def __init__(self, model: Callable[[Tensor], Tensor]):
        super().__init__()
        self.model = model
        self.reset()

    def reset(self) -> None:
        """Count from zero."""
        self.forwards = self.backwards = 0

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the model's output for pictures [B, C, H, W]."""
        self.forwards += len(pictures)
        output = self.model(pictures)
        if output.requires_grad:
            output.register_hook(self._count)
        return output

    def _count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)
