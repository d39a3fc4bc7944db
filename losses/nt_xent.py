"""SimCLR's loss for two views of every picture, and its decoupled form."""

import torch
from torch import Tensor

from losses.common import Reduction, check_pairs, check_positive, reduced
from losses.info_nce import contrast
from losses.similarity import cross_entropies, log_partition, unit


def nt_xent(
    view_a: Tensor,
    view_b: Tensor,
    *,
    temperature: float = 0.5,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return SimCLR's loss: identify each view's partner among all other views of the batch.

    l_i = -log( exp(s_ip / t) / sum_(k != i) exp(s_ik / t) ), s = cos(z_i, z_k), z the 2 N views
    [a_1 .. a_N, b_1 .. b_N], p the other view of the same picture. The paper interleaves the views,
    which gives the same mean.

    view_a, view_b: [N, D], row i of both from the same picture; normalised here (a row of zeros
    stays zero), gradients to both. Computed in float32 or better (without autocast).
    Returns the mean over the 2 N views, or [2 N] with reduction "none". N = 1 has no negative and
    gives 0. Temperature 0.5: lightly's and the paper's for CIFAR-10; 0.1 on ImageNet.
    Source: Chen et al. 2020, equation 1 and algorithm 1. Some texts omit the temperature (t = 1).

    Raises ValueError for unequal or empty shapes, integers, NaN (on the CPU), a temperature that is
    not finite and above 0, and an unknown reduction.
    """
    check_pairs(view_a=view_a, view_b=view_b)
    check_positive(temperature=temperature)
    with torch.autocast(view_a.device.type, enabled=False):
        units = torch.cat([unit(view_a), unit(view_b)])  # [2 N, D]
        rows = torch.arange(len(units), device=units.device)
        partners = rows.roll(len(view_a))
        losses = cross_entropies(units / temperature, units, partners, [rows])
        return reduced(losses, len(losses), reduction)


def decoupled_nt_xent(
    view_a: Tensor,
    view_b: Tensor,
    *,
    temperature: float = 0.1,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return nt_xent with the positive excluded from the denominator.

    l_i = -s_ip / t + log sum_(k != i, k != p) exp(s_ik / t), which may be negative.

    Arguments, normalisation and reduction as in nt_xent; N = 1 has no candidate and gives 0.
    Temperature 0.1: the paper's and lightly's.
    Source: Yeh et al. 2022, equation 6 (DCL), without its optional weights; mean instead of sum.

    Raises ValueError as nt_xent does.
    """
    check_pairs(view_a=view_a, view_b=view_b)
    check_positive(temperature=temperature)
    with torch.autocast(view_a.device.type, enabled=False):
        units_a, units_b = unit(view_a), unit(view_b)
        units = torch.cat([units_a, units_b])  # [2 N, D]
        rows = torch.arange(len(units), device=units.device)
        partners = rows.roll(len(units_a))
        attraction = (units_a * units_b).sum(1).repeat(2) / temperature
        partition = log_partition(units / temperature, units, [rows, partners])
        return contrast(attraction, partition, reduction=reduction)
