"""ProtoNCE: identify the prototypes of each embedding's clusters."""

from collections.abc import Sequence

import torch
from torch import Tensor

from losses.common import (
    Reduction,
    check_finite,
    check_labels,
    check_pairs,
    check_positive,
    check_rows,
    common_precision,
    reduced,
    values_are_checked,
)
from losses.info_nce import info_nce
from losses.similarity import cross_entropies, unit


def proto_nce(
    embeddings: Tensor,
    prototypes: Sequence[Tensor],
    assignments: Sequence[Tensor],
    concentrations: Sequence[Tensor],
    *,
    keys: Tensor | None = None,
    negatives: Tensor | None = None,
    temperature: float = 0.1,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return PCL's loss: identify each embedding's prototypes, and its key if keys are given.

    l_i = -1 / M sum_m log( exp(v_i c^m_s / phi^m_s) / sum_j exp(v_i c^m_j / phi^m_j) )
    - log( exp(v_i k_i / t) / sum_j exp(v_i k_j / t) ), s: the cluster of i in the m-th of M
    clusterings, j over all its K_m prototypes. The last term is info_nce with the negatives, only
    if keys are given.

    embeddings: v, [N, D]; prototypes: c, list of M [K_m, D]; assignments: list of M integer [N]
    below K_m; concentrations: phi > 0, list of M [K_m] (see `concentrations`); keys: [N, D];
    negatives: [K, D]. Vectors are normalised here (a row of zeros stays zero); all but the
    embeddings are detached. Computed in float32 or better (without autocast). Returns the mean over
    embeddings, or [N] with reduction "none"; a single prototype gives 0. Temperature 0.1: the
    paper's; 0.2 in the official program, which also samples r of the prototypes as negatives.
    Source: Li et al. 2021 (PCL), equation 11, mean instead of sum.

    Raises ValueError for tensors instead of lists, empty lists or lists of different lengths,
    mismatched shapes, empty tensors, wrong dtypes, negatives without keys, a temperature that is
    not finite and above 0, an unknown reduction and, on the CPU, for NaN, an assignment out of
    range and a concentration that is not finite and above 0.
    """
    lists = (prototypes, assignments, concentrations)
    _check_lists(prototypes=prototypes, assignments=assignments, concentrations=concentrations)
    if negatives is not None and keys is None:
        raise ValueError("negatives without keys: the instance term needs both")
    check_positive(temperature=temperature)
    check_rows(embeddings=embeddings)
    if keys is not None:
        check_pairs(embeddings=embeddings, keys=keys)
    if negatives is not None:
        check_rows(negatives=negatives)
    with torch.autocast(embeddings.device.type, enabled=False):
        losses = [_one(embeddings, *found, reduction) for found in zip(*lists, strict=True)]
        total = torch.stack(losses).mean(0)
        if keys is None:
            return total
        keys = unit(keys.detach())
        negatives = None if negatives is None else unit(negatives.detach())
        return total + info_nce(
            unit(embeddings), keys, negatives, temperature=temperature, reduction=reduction
        )


def _check_lists(**lists: Sequence[Tensor]) -> None:
    for name, found in lists.items():
        if isinstance(found, Tensor):
            shape = list(found.shape)
            raise ValueError(f"{name} {shape} is a tensor; give a list, one per clustering")
    counts = [len(found) for found in lists.values()]
    if len(set(counts)) > 1 or not counts[0]:
        names = f"{', '.join(lists)} of {counts} clusterings"
        raise ValueError(f"{names}: expected equal numbers, at least 1")


def _one(
    embeddings: Tensor,
    prototypes: Tensor,
    assignments: Tensor,
    concentrations: Tensor,
    reduction: Reduction,
) -> Tensor:
    check_rows(embeddings=embeddings, prototypes=prototypes)
    check_labels(assignments, len(embeddings), classes=len(prototypes), name="assignments")
    if concentrations.shape != (len(prototypes),):
        raise ValueError(f"concentrations {list(concentrations.shape)}: not [{len(prototypes)}]")
    check_finite("concentrations", concentrations)
    if values_are_checked(concentrations) and not (concentrations > 0).all():
        least = concentrations.min().item()
        raise ValueError(f"concentrations: smallest {least}, expected finite numbers above 0")
    embeddings = unit(embeddings)
    keys = unit(prototypes.detach()) / concentrations.detach().unsqueeze(1)
    losses = cross_entropies(*common_precision(embeddings, keys), assignments.long())
    return reduced(losses, len(losses), reduction)
