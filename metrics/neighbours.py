"""Classes predicted from the nearest neighbours among features, as encoders are compared."""

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK_ROWS = 512  # queries whose similarities are in memory at a time


@torch.no_grad()
def nearest(queries: Tensor, bank: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the cosine similarities [N, k] and indices [N, k] of each query's nearest bank rows.

    queries: [N, D]; bank: [M, D]; normalised here. k is `count`, at most M; the nearest first.
    """
    queries, bank = F.normalize(queries.float(), dim=1), F.normalize(bank.float(), dim=1)
    found = [
        (part @ bank.T).topk(min(count, len(bank)), dim=1) for part in queries.split(BLOCK_ROWS)
    ]
    return torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])


def neighbour_classes(
    queries: Tensor,
    bank: Tensor,
    bank_labels: Tensor,
    classes: int,
    *,
    neighbours: int = 200,
    temperature: float = 0.1,
) -> Tensor:
    """Return each query's class by a weighted vote of its nearest neighbours.

    argmax_c of the sum of exp(s_j / t) over the k nearest rows j of class c, s the cosine.

    queries: [N, D]; bank: [M, D], with bank_labels int64 [M] below `classes`. k = 200 (at most M)
    and t = 0.1, as lightly's and MoCo's programs; the paper's t is 0.07. Returns int64 [N].
    Source: Wu et al. 2018, section 3.4.
    Raises ValueError for labels of another number than the bank's rows, neighbours below 1 and a
    temperature that is not above 0.
    """
    if len(bank_labels) != len(bank) or neighbours < 1 or not temperature > 0:
        found = f"{len(bank_labels)} labels, {neighbours} neighbours, temperature {temperature}"
        raise ValueError(f"{found}, for a bank of {len(bank)} rows")
    similarities, places = nearest(queries, bank, neighbours)
    weights = ((similarities - 1) / temperature).exp()  # at most 1, so no temperature overflows
    votes = torch.zeros(len(queries), classes, device=weights.device)
    votes.scatter_add_(1, bank_labels[places], weights)
    return votes.argmax(1)
