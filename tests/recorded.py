"""A training step recorded and replayed on the CPU, as a CUDA graph does it on a GPU."""

import torch
from torch.distributed import Work
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

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

    calls = [(*call, _made(*call[1:])) for call in operators.kept]

    def replay():
        with torch.no_grad():
            for operator, args, kwargs, _result, made in calls:
                again = operator(*args, **kwargs)
                if operator.namespace == "c10d":
                    Work.unbox(again[-1]).wait()
                    continue
                for kept, new in zip(made, _tensors(again), strict=True):
                    if kept is not None:
                        kept.copy_(new)

    return Recording(outputs, replay)


def _made(args, kwargs, result):
    """The tensors of a result; None for one in memory that was given, which is written already."""
    given = {_place(x) for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
    return [x if _place(x) not in given and x.numel() else None for x in _tensors(result)]


def _tensors(result):
    if isinstance(result, torch.Tensor):
        return [result]
    parts = result if isinstance(result, tuple | list) else ()
    return [x for part in parts for x in _tensors(part)]


def _place(tensor):
    return tensor.untyped_storage().data_ptr()


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
