"""Losses: mathematics on tensors."""

from losses.adversarial import ADVERSARIAL_LOSSES, AdversarialLoss
from losses.class_margins import ArcFaceHead, CosFaceHead, class_softmax, modified_softmax
from losses.clustering import Clusters, concentrations, kmeans
from losses.distances import l1, mahalanobis_distances
from losses.game import game_value, implied_jensen_shannon
from losses.gradient_penalty import drift, gradient_penalty, interpolate, r1_penalty
from losses.info_nce import info_nce, masked_info_nce
from losses.memory import FeatureQueue, momentum_update
from losses.metric import contrastive, triplet_margin
from losses.mined_triplets import mined_triplet_margin
from losses.nt_xent import decoupled_nt_xent, nt_xent
from losses.objectives import OBJECTIVES, Objective, accuracies
from losses.open_world import OpenWorldPrototypes, energy, open_world_contrastive
from losses.pairing import LogitScale, clip, curl, n_pair
from losses.patch_nce import multilayer_patch_nce, patch_nce
from losses.patch_variants import PATCH_LOSSES, decoupled_patch_nce, hdce, mo_nce, semantic_relation
from losses.proto_nce import proto_nce
from losses.remembered import moco, nearest_neighbours, nnclr
from losses.sinkhorn import sinkhorn_log_plan
from losses.sup_con import sup_con
from losses.triplets import Triplets, mine_triplets
from losses.uniformity import alignment, spread, uniformity

__all__ = [
    "ADVERSARIAL_LOSSES",
    "OBJECTIVES",
    "PATCH_LOSSES",
    "AdversarialLoss",
    "ArcFaceHead",
    "Clusters",
    "CosFaceHead",
    "FeatureQueue",
    "LogitScale",
    "Objective",
    "OpenWorldPrototypes",
    "Triplets",
    "accuracies",
    "alignment",
    "class_softmax",
    "clip",
    "concentrations",
    "contrastive",
    "curl",
    "decoupled_nt_xent",
    "decoupled_patch_nce",
    "drift",
    "energy",
    "game_value",
    "gradient_penalty",
    "hdce",
    "implied_jensen_shannon",
    "info_nce",
    "interpolate",
    "kmeans",
    "l1",
    "mahalanobis_distances",
    "masked_info_nce",
    "mine_triplets",
    "mined_triplet_margin",
    "mo_nce",
    "moco",
    "modified_softmax",
    "momentum_update",
    "multilayer_patch_nce",
    "n_pair",
    "nearest_neighbours",
    "nnclr",
    "nt_xent",
    "open_world_contrastive",
    "patch_nce",
    "proto_nce",
    "r1_penalty",
    "semantic_relation",
    "sinkhorn_log_plan",
    "sup_con",
    "spread",
    "triplet_margin",
    "uniformity",
]
