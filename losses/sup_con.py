"""The supervised contrastive loss: rows of one class are one another's positives."""

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
    """Return the supervised loss: each row finds all others of its class.

    l_i = -1 / |P_i| sum_(p in P_i) log( exp(s_ip / t) / sum_(k != i) exp(s_ik / t) ),
    s = cos(z_i, z_k), P_i: the other rows with the label of i.

    embeddings: [N, D], normalised here (a row of zeros stays zero); labels: integers [N]. Two views
    go one below the other, labels repeated; labels that are all different then give nt_xent.
    Computed in float32 or better (without autocast). Returns the mean over the rows that are not
    alone in their class, or [N] with reduction "none", 0 for those that are; nobody left gives 0,
    with a graph. A batch of one class is no special case. Temperature 0.1: the paper's.
    Source: Khosla et al. 2020, equation 2 (L_out). The official
    program multiplies by t / 0.07 and counts rows alone in their class as zeros in the mean.

    Raises ValueError for an empty batch, integers, NaN (on the CPU), labels of another length or of
    floats, a temperature that is not finite and above 0, and an unknown reduction.
    """
    check_rows(embeddings=embeddings)
    check_labels(labels, len(embeddings))
    check_positive(temperature=temperature)
    with torch.autocast(embeddings.device.type, enabled=False):
        units = unit(embeddings)
        queries = units / temperature
        # Mean over positives of q_i z_p = q_i (sum of the class - z_i) / (size of the class - 1):
        # N x D numbers instead of N x N masks.
        labels = labels.long()
        classes = torch.searchsorted(labels.sort().values, labels)  # its first place when sorted
        sums = torch.zeros_like(units).index_add(0, classes, units)
        sizes = torch.zeros_like(labels).index_add(0, classes, torch.ones_like(labels))
        others = sizes[classes] - 1
        attraction = (queries * (sums[classes] - units)).sum(1) / others.clamp(min=1)
        rows = torch.arange(len(units), device=units.device)
        return contrast(attraction, log_partition(queries, units, [rows]), others > 0, reduction)
