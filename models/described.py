"""Builds networks from a file's own description, which is not trusted."""

from collections.abc import Callable, Mapping
from typing import TypeVar, get_type_hints

import torch
from torch import Tensor, nn

SizesT = TypeVar("SizesT")

MOST_LAYERS = 256
MOST_PIXELS = 2**14  # per side
MOST_CHANNELS = 2**16
MOST = {  # limits of the sizes that do not count channels
    "blocks": MOST_LAYERS,
    "downs": MOST_LAYERS,
    "halvings": MOST_LAYERS,
    "size_px": MOST_PIXELS,
    "widest_px": MOST_PIXELS,
}
MAY_BE_ZERO = ("blocks", "classes", "downs")


def checked_sizes(kind: type[SizesT], values: Mapping[str, object]) -> SizesT:
    """Return `kind(**values)` after checking types and ranges.

    Every value must have the type of its field, and every number must lie between 1 (0 for what a
    network may lack) and a bound that keeps the network cheap to build on the meta device. Raises
    TypeError for unknown names and ValueError for invalid values.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"sizes {str(values)[:40]}: not a mapping from names to values")
    types = get_type_hints(kind)
    for name in values.keys() & types.keys():
        value, wanted = values[name], types[name]
        if type(value) is not wanted:
            raise ValueError(f"{name} {str(value)[:40]}: not of type {wanted.__name__}")
        if wanted is int:
            least, most = int(name not in MAY_BE_ZERO), MOST.get(name, MOST_CHANNELS)
            if not least <= value <= most:
                shown = value if abs(value) < 10**18 else "with more than 18 digits"
                raise ValueError(f"{name} {shown}: not between {least} and {most}")
    return kind(**values)


def build_to_fit(build: Callable[[], nn.Module], header: Mapping[str, Tensor]) -> nn.Module:
    """Return the network that `build` makes if it fits the weights of a file.

    header: for each weight a tensor of its shape and dtype on the meta device, which takes no
    memory. The network is first built there too; memory is allocated only if all names, shapes and
    dtypes match the header, so never more than the file's size. Raises ValueError if they differ,
    and whatever `build` raises.
    """
    with torch.device("meta"):
        sketch = build()
    wanted = sketch.state_dict()
    for name, like in wanted.items():
        if name not in header:
            raise ValueError(f"{name} is missing")
        value = header[name]
        if value.shape != like.shape:
            raise ValueError(f"{name} has shape {list(value.shape)}, not {list(like.shape)}")
        if value.dtype != like.dtype:
            raise ValueError(f"{name} is {value.dtype}, not {like.dtype}")
    unknown = next((name for name in header if name not in wanted), None)
    if unknown is not None:
        raise ValueError(f"{unknown} is not a weight of this network")
    return build()


def check_stored(state: Mapping[str, Tensor]) -> None:
    """Raise ValueError if the tensors of a file have more elements than the file stores.

    A state dict may hold tensors with stride 0, or many tensors that share one storage.
    """
    claimed = sum(value.numel() * value.element_size() for value in state.values())
    stored = {}
    for name, value in state.items():
        if value.layout != torch.strided or value.is_quantized:
            raise ValueError(f"{name} is not a plain dense tensor")
        storage = value.untyped_storage()
        stored[storage.data_ptr()] = storage.nbytes()
    if claimed > sum(stored.values()):
        raise ValueError(f"its tensors claim {claimed:,} bytes, it holds {sum(stored.values()):,}")
