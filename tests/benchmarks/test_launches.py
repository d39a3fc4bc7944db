"""How many kernels a step launches, and that no step waits for the device."""

import pytest
import torch

from benchmarks import launches

# Operators whose result, or its shape, the processor has to read before it goes on.
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "unique_dim", "_unique2", "equal"}
WAITING |= {"unique_consecutive", "repeat_interleave", "bincount", "is_nonzero", "item"}
# Operators of a step in fp32 and bf16; more than 5 % away means that something was added or saved.
EXPECTED = {
    "cut": (706, 1066),
    "fastcut": (738, 1136),
    "cut_monce": (875, 1235),
    "cut_hneg": (1014, 1374),
    "cut_qs": (772, 1146),
    "cyclegan": (1058, 1696),
    "dclgan": (1284, 1950),
    "pix2pix": (257, 323),
    "dcgan": (198, 231),
    "dcgan_ada": (424, 457),
    "sngan": (2834, 3261),
    "wgan_gp": (1811, 2158),
    "progressive": (451, 504),
    "r3gan_tiny": (1482, 1685),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_step_launches_as_many_kernels_as_before_and_waits_for_none(name):
    for precision, expected in zip(("fp32", "bf16"), EXPECTED[name], strict=True):
        counts = launches.ours(name, precision)
        assert counts.total() == pytest.approx(expected, rel=0.05), precision
        assert not WAITING & counts.keys(), precision


def test_ours_launch_fewer_than_the_official_programs():
    most = {"cut": 1.0, "fastcut": 1.0, "cyclegan": 0.7, "pix2pix": 1.0}
    for name, ratio in most.items():
        assert launches.ours(name, "fp32").total() <= ratio * launches.official(name).total(), name
    cut = launches.ours("cut", "fp32").total()
    assert cut <= 1400 and launches.ours("cut", "bf16").total() <= 1500
    assert launches.ours("cut_monce", "fp32").total() <= 1.3 * cut


def test_the_counter_counts_work_and_nothing_else():
    x = torch.ones(2, 3)
    with launches.LaunchCounter() as counter:
        y = x.view(3, 2).t()  # views
        torch.empty(4)
        (y + 1).relu_().sum().item()
    assert counter.counts == {"add": 1, "relu_": 1, "sum": 1, "_local_scalar_dense": 1}
