"""The supervised contrastive loss: all rows of a class are positives of each other."""

import torch
from torch import Tensor

from losses.common import Reduction, check_labels, check_positive, check_rows
from losses.info_nce import contrast
from losses.similarity import log_partition, unit


def sup_con(
    embeddings: Tensor,
    labels: Tensor,
    *,
    temperature: float = 0.1,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the supervised contrastive loss: identify all other rows of each row's class.

    l_i = -1 / |P_i| sum_(p in P_i) log( exp(s_ip / t) / sum_(k != i) exp(s_ik / t) ),
    s = cos(z_i, z_k), P_i: the other rows with the label of i.

    embeddings: [N, D], normalised here (a row of zeros stays zero); labels: integers [N]. For two
    views concatenate them and repeat the labels; if all pictures have different labels, the loss is
    then nt_xent. Computed in float32 or better (without autocast). Returns the mean over the rows
    that have a positive, or [N] with reduction "none", where the others are 0; if no row has one
    the mean is 0, with a graph. Temperature 0.1: the paper's.
    Source: Khosla et al. 2020, equation 2 (L_out). The official program multiplies by t / 0.07 and
    includes rows without a positive in the mean, as zeros.

    Raises ValueError for an empty batch, integer embeddings, NaN (on the CPU), labels of the wrong
    length or dtype, a temperature that is not finite and above 0, and an unknown reduction.
    """
    check_rows(embeddings=embeddings)
    check_labels(labels, len(embeddings))
    check_positive(temperature=temperature)
    with torch.autocast(embeddings.device.type, enabled=False):
        units = unit(embeddings)
        queries = units / temperature
        # Mean over positives of q_i z_p = q_i (class sum - z_i) / (class size - 1): N x D numbers
        # instead of N x N masks.
        labels = labels.long()
        classes = torch.searchsorted(labels.sort().values, labels)  # its first index when sorted
        sums = torch.zeros_like(units).index_add(0, classes, units)
        sizes = torch.zeros_like(labels).index_add(0, classes, torch.ones_like(labels))
        others = sizes[classes] - 1
        attraction = (queries * (sums[classes] - units)).sum(1) / others.clamp(min=1)
        rows = torch.arange(len(units), device=units.device)
        return contrast(attraction, log_partition(queries, units, [rows]), others > 0, reduction)
