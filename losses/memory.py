"""MoCo's feature queue and momentum encoder."""

import torch
from torch import Tensor, nn

from losses.common import check_rows
from losses.similarity import unit


class FeatureQueue(nn.Module):
    """A ring buffer of the last `size` feature vectors, first in, first out.

    `features`: float32 [size, D], of length 1, initially random directions drawn from `seed`. It
    and the write position are buffers, so they are saved in checkpoints.
    Source: He et al. 2020 (MoCo), with a queue of 65,536. Their program requires that the batch
    size divides `size`, and lightly drops the rows beyond the end; here they wrap around.
    With several processes gather the keys of all before `push`, or the queues will differ.

    Raises ValueError for sizes below 1.
    """

    features: Tensor
    position: Tensor

    def __init__(self, size: int, dimensions: int, *, seed: int = 0):
        super().__init__()
        if size < 1 or dimensions < 1:
            raise ValueError(f"size {size} and dimensions {dimensions} must be 1 or more")
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("features", unit(torch.randn(size, dimensions, generator=generator)))
        self.register_buffer("position", torch.tensor(0))

    @torch.no_grad()
    def push(self, features: Tensor) -> None:
        """Replace the oldest B vectors by [B, D], normalised and detached.

        Raises ValueError for the wrong width, B > size, integers, NaN (on the CPU).
        """
        check_rows(features=features)
        size, dimensions = self.features.shape
        if features.shape[1] != dimensions:
            raise ValueError(f"features {list(features.shape)} are not [B, {dimensions}]")
        if len(features) > size:
            raise ValueError(f"a queue of size {size} is smaller than the batch {len(features)}")
        # All on the device: reading the position on the host would synchronise.
        places = torch.arange(len(features), device=self.position.device) + self.position
        self.features[places % size] = unit(features).to(self.features.dtype)
        self.position.add_(len(features)).remainder_(size)


@torch.no_grad()
def momentum_update(online: nn.Module, average: nn.Module, *, momentum: float = 0.999) -> None:
    """Update the key encoder as a moving average of the query encoder: k <- m k + (1 - m) q.

    Applies in place to parameters and floating-point buffers (else batch norm's statistics would
    not match the weights); integer buffers are copied. The paper, lightly and the official program
    do not average buffers. Momentum 0.999: the paper's.
    Source: He et al. 2020 (MoCo), equation 2.

    Raises ValueError if the networks' tensors differ in name, shape or dtype (keep both in float32:
    bfloat16 would round small updates to 0), and for a momentum outside [0, 1].
    """
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum {momentum} is not in [0, 1]")
    followed, following = (
        {**dict(network.named_parameters()), **dict(network.named_buffers())}
        for network in (online, average)
    )
    for name in {**followed, **following}:
        kinds = [_kind(tensors.get(name)) for tensors in (followed, following)]
        if kinds[0] != kinds[1]:
            raise ValueError(f"{name} is {kinds[0]} in `online` and {kinds[1]} in `average`")
    floating = [name for name, values in following.items() if values.is_floating_point()]
    for name in following.keys() - set(floating):
        following[name].copy_(followed[name])
    torch._foreach_lerp_(
        [following[name] for name in floating], [followed[name] for name in floating], 1 - momentum
    )


def _kind(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else f"{list(tensor.shape)} of {tensor.dtype}"
