"""The operators of a training step: launches, multiply-adds, and bytes that go to and from memory.

They are counted where PyTorch dispatches them, backward passes and optimizers included. PyTorch's
own FlopCounterMode follows modules by hooks, which a penalty's gradient refuses, and counts the
gradient of a grouped convolution's weights as if it had one group.
"""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

# Operators that launch nothing.
SILENT = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
SILENT |= {"promote_types", "result_type", "_unsafe_view", "lift_fresh", "detach"}
SILENT |= {"device", "_record_function_enter_new", "_record_function_exit"}

KERNELS = {"instance_norm": 2, "instance_norm_backward": 2}  # of our own operators on a GPU


class Operator(NamedTuple):
    """One call of an operator."""

    name: str
    launches: int
    multiply_adds: int
    read_and_written: int  # bytes


class Counted(TorchDispatchMode):
    """Keeps the operators that run inside it, but views and empty allocations.

    Every operator counts as one launch, also a multi-tensor one (fused Adam), which it nearly is on
    a GPU. It reads every tensor that it is given once and writes what it returns or changes once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operators: list[Operator] = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        """Keep one operator and run it."""
        kwargs = kwargs or {}
        result = operator(*args, **kwargs)
        name = operator.overloadpacket.__name__
        if not operator.is_view and name not in SILENT:
            adds = _multiply_adds(operator, args, kwargs, result)
            moved = _bytes((args, kwargs)) + _bytes(_written(operator, args, result))
            self.operators.append(Operator(name, KERNELS.get(name, 1), adds, moved))
        return result

    @property
    def launches(self) -> Counter[str]:
        """Launches by the operator's name."""
        found: Counter[str] = Counter()
        for operator in self.operators:
            found[operator.name] += operator.launches
        return found

    @property
    def multiply_adds(self) -> int:
        """Those of convolutions and matrix products; all else is bound by memory."""
        return sum(operator.multiply_adds for operator in self.operators)

    @property
    def read_and_written(self) -> int:
        """Bytes."""
        return sum(operator.read_and_written for operator in self.operators)


def counted(action: Callable[[], object]) -> Counted:
    """Return the operators of an action."""
    with Counted() as found:
        action()
    return found


def _multiply_adds(operator, args: tuple, kwargs: dict, result: object) -> int:
    name = operator.overloadpacket.__name__
    if name == "convolution":
        x, weight = args[:2]
        return _convolution(x, weight, result, transposed=args[6])
    if name == "convolution_backward":
        gradient, x, weight = args[:3]
        wanted = args[-1][:2]  # of x and of the weights; either takes what the forward pass takes
        return sum(wanted) * _convolution(x, weight, gradient, transposed=args[7])
    if operator.overloadpacket in flop_registry:
        return flop_registry[operator.overloadpacket](*args, **kwargs, out_val=result) // 2
    return 0


def _convolution(x: Tensor, weight: Tensor, y: Tensor, *, transposed: bool) -> int:
    """A convolution makes each value of y of weight[0], its transpose spreads each value of x."""
    return (x if transposed else y).numel() * weight[0].numel()


def _written(operator, args: tuple, result: object) -> object:
    """What an operator returns, or changes where it returns nothing, like fused Adam."""
    if tree_leaves(result, lambda leaf: leaf is None) != [None]:
        return result
    arguments = zip(args, operator._schema.arguments, strict=False)
    return [given for given, kind in arguments if kind.alias_info and kind.alias_info.is_write]


def _bytes(tensors: object) -> int:
    """All different tensors' bytes; an expanded one's as often as they are in memory."""
    found = {id(leaf): leaf for leaf in tree_leaves(tensors) if isinstance(leaf, Tensor)}
    return sum(_distinct(tensor) * tensor.element_size() for tensor in found.values())


def _distinct(tensor: Tensor) -> int:
    sides = zip(tensor.shape, tensor.stride(), strict=True)
    return torch.Size([size for size, stride in sides if stride or size == 0]).numel()
