"""A training step recorded and replayed on the CPU, as a CUDA graph does it on a GPU."""

import torch
from torch.distributed import Work
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

import training
from training import Recording

# What a GPU's stream cannot capture: results that the processor has to read, tensors made of the
# processor's own numbers.
FORBIDDEN = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "lift_fresh", "item"}


class Operators(TorchDispatchMode):
    """Runs operators and keeps them, each with the very tensors that it read and made."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        name = operator.overloadpacket.__name__
        if name in FORBIDDEN:
            raise RuntimeError(f"{name} cannot be captured")
        kwargs = kwargs or {}
        result = operator(*args, **kwargs)
        self.kept.append((operator, args, kwargs, result))
        return result


def record(function, generators):
    """Run and record: a replay runs no Python of the function and knows no other numbers.

    Every operator writes its result where the first run left it; the tensors in between, the
    weights and the inputs are the same objects in every replay. `generators` are checked to be all
    that the function draws from.
    """
    with Operators() as operators:
        outputs = function()
    known = {generator.initial_seed() for generator in generators}
    for operator, _args, kwargs, _result in operators.kept:
        drawn_from = kwargs.get("generator")
        assert drawn_from is None or drawn_from.initial_seed() in known, operator

    def replay():
        with torch.no_grad():
            for operator, args, kwargs, result in operators.kept:
                again = operator(*args, **kwargs)
                if operator.namespace == "c10d":
                    Work.unbox(again[-1]).wait()
                    continue
                _write(result, again, _memory(args, kwargs))

    return Recording(outputs, replay)


def _memory(args, kwargs):
    """The memory that an operator was given; what it returns there is written already."""
    found = set()
    tree_map_only(torch.Tensor, lambda x: found.add(_place(x)), (args, kwargs))
    return found


def _place(tensor):
    return tensor.untyped_storage().data_ptr()


def _write(kept, new, given):
    if isinstance(kept, torch.Tensor):
        if _place(kept) not in given and kept.numel():
            kept.copy_(new)
    elif isinstance(kept, tuple | list):
        for one, other in zip(kept, new, strict=True):
            _write(one, other, given)


def let_steps_be_recorded(replace=setattr):
    """Let steps be captured on the CPU, by `record`; return a list of the `StepCapture`s made."""
    made = []

    def build(mode, device):
        made.append(training.capture.StepCapture(mode, device, record))
        return made[-1]

    for place in (training, training.capture):
        replace(place, "can_capture", lambda device: True)
    replace(training, "StepCapture", build)
    return made
