"""Distances between pictures, and between embeddings, which are never normalised here."""

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.common import check_pairs, check_rows, common_precision, single_precision


def l1(pictures: Tensor, expected: Tensor) -> Tensor:
    """Return the mean absolute difference of two tensors of the same shape, a scalar."""
    return F.l1_loss(single_precision(pictures), single_precision(expected))


def mahalanobis_distances(first: Tensor, second: Tensor, factor: Tensor) -> Tensor:
    """Return D_n = sqrt((x_n - y_n)^T M (x_n - y_n)) of each row, with M = L^T L.

    It equals |L (x_n - y_n)|, so M is positive semi-definite for any L, and D is a pseudometric:
    non-negative, 0 for equal rows, symmetric, D(x, z) <= D(x, y) + D(y, z) (some texts print the
    last with >). With L = I it is the Euclidean distance.

    first, second: [N, D]; factor: L, [K, D]. Gradients go to all three, 0 where D = 0. Computed in
    float32 or better (without autocast). Returns [N].
    Source: Xing et al. 2003; the factor as in Weinberger and Saul 2009.

    Raises ValueError for unequal or empty rows, integers, NaN (on the CPU), or a factor of the
    wrong width.
    """
    check_pairs(first=first, second=second)
    check_rows(factor=factor)
    if factor.shape[1] != first.shape[1]:
        raise ValueError(f"factor {list(factor.shape)} is not [K, {first.shape[1]}]")
    with torch.autocast(first.device.type, enabled=False):
        differences = single_precision(first) - single_precision(second)
        differences, factor = common_precision(differences, factor)
        return (differences @ factor.T).norm(dim=1)


def row_distances(first: Tensor, second: Tensor, *, squared: bool = False) -> Tensor:
    """Return |x_n - y_n| (or its square) of each row of two [N, D], as [N]; gradient 0 at D = 0.

    The square is not a metric: for 0, 1, 2 on a line, 4 > 1 + 1.
    """
    differences = single_precision(first) - single_precision(second)
    return differences.square().sum(1) if squared else differences.norm(dim=1)


@torch.no_grad()
def pairwise_distances(first: Tensor, second: Tensor, *, squared: bool = False) -> Tensor:
    """Return |x_i - y_j| (or its square) of all pairs of [N, D] and [M, D], as float64 [N, M].

    |x|^2 + |y|^2 - 2 x y with one matrix product, in float64: in float32 cancellation gives a
    vector a distance of 0.005 from itself. A square below 1e-14 (|x|^2 + |y|^2) is rounding error
    and is set to 0. Detached.
    """
    first, second = first.double(), second.double()
    lengths = first.norm(dim=1, keepdim=True).square() + second.norm(dim=1).square()
    squares = torch.addmm(lengths, first, second.T, alpha=-2)
    squares.masked_fill_(squares <= lengths.mul_(1e-14), 0)
    return squares if squared else squares.sqrt_()
