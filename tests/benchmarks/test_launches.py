"""How many kernels a step launches, and that no step waits for the device."""

import functools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import models
from benchmarks import launches
from benchmarks.counted import Counted

# Operators whose result, or its shape, the processor has to read before it goes on.
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "unique_dim", "_unique2", "equal"}
WAITING |= {"unique_consecutive", "repeat_interleave", "bincount", "is_nonzero", "item"}
# Operators of a step in fp32 and bf16; more than 5 % away means that something was added or saved.
EXPECTED = {
    "cut": (686, 897),
    "fastcut": (716, 939),
    "cut_monce": (855, 1066),
    "cut_hneg": (994, 1205),
    "cut_qs": (752, 977),
    "cyclegan": (1058, 1394),
    "dclgan": (1244, 1616),
    "pix2pix": (257, 325),
    "dcgan": (198, 231),
    "dcgan_ada": (424, 457),
    "sngan": (2834, 3261),
    "wgan_gp": (1811, 2158),
    "progressive": (451, 504),
    "r3gan_tiny": (1338, 1539),
}


@pytest.fixture(scope="module")
def counted():
    """Return a function from a step and its precision to its launches, each counted once."""
    return functools.cache(launches.ours)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_step_launches_as_many_kernels_as_before_and_waits_for_none(name, counted):
    for precision, expected in zip(("fp32", "bf16"), EXPECTED[name], strict=True):
        counts = counted(name, precision)
        assert counts.total() == pytest.approx(expected, rel=0.05), precision
        assert not WAITING & counts.keys(), precision


def test_ours_launch_fewer_than_the_official_programs(counted):
    most = {"cut": 1.0, "fastcut": 1.0, "cyclegan": 0.7, "pix2pix": 1.0}
    for name, ratio in most.items():
        assert counted(name, "fp32").total() <= ratio * launches.official(name).total(), name
    cut = counted("cut", "fp32").total()
    assert cut <= 1400 and counted("cut", "bf16").total() <= 1500
    assert counted("cut_monce", "fp32").total() <= 1.3 * cut


class Layouts(TorchDispatchMode):
    """Keeps whether each convolution's input, and each gradient's, lies channels-last."""

    def __init__(self):
        super().__init__()
        self.inputs, self.gradients = [], []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        name = operator.overloadpacket.__name__
        kept = {"convolution": self.inputs, "convolution_backward": self.gradients}.get(name)
        if kept is not None:
            kept.append(args[0].is_contiguous(memory_format=torch.channels_last))
        return operator(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["cut", "fastcut", "cyclegan", "dclgan", "pix2pix"])
def test_bf16_convolutions_read_channels_last_from_end_to_end(name):
    small = {} if name == "pix2pix" else {"crop_size": 32}
    with models.forced_few_launches(True):
        subject = launches.OURS[name](name, "bf16", **small)
        with Layouts() as found:
            subject.step(0)
    assert len(found.inputs) > 20 and all(found.inputs)
    # Behind the last layer a gradient of three channels or of one may come as it likes.
    assert sum(found.gradients) >= len(found.gradients) - 6


def test_the_counter_counts_work_and_nothing_else():
    x = torch.ones(2, 3)
    with Counted() as counter:
        y = x.view(3, 2).t()  # views
        torch.empty(4)
        (y + 1).relu_().sum().item()
    assert counter.launches == {"add": 1, "relu_": 1, "sum": 1, "_local_scalar_dense": 1}
