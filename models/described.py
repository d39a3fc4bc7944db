"""Networks built by what a file says of itself, which may be a mistake or a lie."""

from collections.abc import Callable, Mapping
from typing import TypeVar, get_type_hints

import torch
from torch import Tensor, nn

SizesT = TypeVar("SizesT")

MOST_LAYERS = 256
MOST_PIXELS = 2**14  # of a side
MOST_CHANNELS = 2**16
MOST = {  # of the sizes that are no numbers of channels
    "blocks": MOST_LAYERS,
    "downs": MOST_LAYERS,
    "halvings": MOST_LAYERS,
    "size_px": MOST_PIXELS,
    "widest_px": MOST_PIXELS,
}
MAY_BE_ZERO = ("blocks", "classes", "downs")


def checked_sizes(kind: type[SizesT], values: Mapping[str, object]) -> SizesT:
    """Return the dataclass `kind` of values that a network can be sketched with.

    Every value has the type of its field, and every number lies between 1 (or 0, for what a network
    may lack) and a bound that keeps the sketch itself small. Raises TypeError for unknown names and
    ValueError for other values.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"sizes {str(values)[:40]}: not numbers by name")
    types = get_type_hints(kind)
    for name in values.keys() & types.keys():
        value, wanted = values[name], types[name]
        if type(value) is not wanted:
            raise ValueError(f"{name} {str(value)[:40]}: not of type {wanted.__name__}")
        if wanted is int:
            least, most = int(name not in MAY_BE_ZERO), MOST.get(name, MOST_CHANNELS)
            if not least <= value <= most:
                shown = value if abs(value) < 10**18 else "of many digits"
                raise ValueError(f"{name} {shown}: not from {least} to {most}")
    return kind(**values)


def build_to_fit(build: Callable[[], nn.Module], header: Mapping[str, Tensor]) -> nn.Module:
    """Return the network that `build` makes, where it fits the weights of a file.

    header: a tensor of each weight's shape and type, on the meta device, which takes no memory. The
    network is first built there; its own memory is taken only where all names, shapes and types are
    those of the header, so that it is as large as the file. Raises ValueError where they are not,
    and what `build` raises.
    """
    with torch.device("meta"):
        sketch = build()
    wanted = sketch.state_dict()
    for name, like in wanted.items():
        if name not in header:
            raise ValueError(f"{name} is missing")
        value = header[name]
        if value.shape != like.shape:
            raise ValueError(f"{name} is {list(value.shape)}, not {list(like.shape)}")
        if value.dtype != like.dtype:
            raise ValueError(f"{name} is {value.dtype}, not {like.dtype}")
    unknown = next((name for name in header if name not in wanted), None)
    if unknown is not None:
        raise ValueError(f"{unknown} is no part of it")
    return build()


def check_stored(state: Mapping[str, Tensor]) -> None:
    """Raise ValueError where tensors from a file claim more numbers than the file holds.

    A state dict may hold tensors whose strides are 0, or the same numbers under many names.
    """
    claimed = sum(value.numel() * value.element_size() for value in state.values())
    stored = {}
    for name, value in state.items():
        if value.layout != torch.strided or value.is_quantized:
            raise ValueError(f"{name} is no plain tensor")
        storage = value.untyped_storage()
        stored[storage.data_ptr()] = storage.nbytes()
    if claimed > sum(stored.values()):
        raise ValueError(f"its tensors claim {claimed:,} bytes, it holds {sum(stored.values()):,}")
