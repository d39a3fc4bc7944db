"""The networks of each objective of train_features.py."""

import torch
from torch import nn

import models
import training
from commands.features.options import FeatureOptions


def build_networks(options: FeatureOptions) -> dict[str, nn.Module]:
    """Return the encoder and the heads of the objective, with weights drawn from the seed.

    SimCLR, MoCo and SupCon have a projection of one hidden layer, NNCLR one of two and a predictor
    (Dwibedi et al. 2021, section 4.1), a classifier one linear layer. MoCo's projection has no norm
    (Chen et al. 2020b); NNCLR's and, as in SimCLR's program, SimCLR's has one after its last layer.
    """
    encoder = models.build_encoder(
        options.encoder,
        options.crop_size,
        in_channels=options.channels,
        base_channels=options.base_channels,
        norm=options.norm,
    )
    width, out = encoder.channels, options.embedding_channels
    hidden, norm = options.hidden_channels or width, options.norm
    networks: dict[str, nn.Module] = {"encoder": encoder}
    if options.objective == "cross_entropy":
        networks["head"] = nn.Linear(width, max(1, options.classes))
    elif options.objective == "moco":
        networks["projector"] = models.build_head([width, hidden, out], "none")
    elif options.objective == "nnclr":
        networks["projector"] = models.build_head(
            [width, hidden, hidden, out], norm, last_norm=True
        )
        networks["predictor"] = models.build_head([out, 2 * hidden, out], norm)
    else:
        networks["projector"] = models.build_head([width, hidden, out], norm, last_norm=True)
    for name, network in networks.items():
        random = training.generator_for(torch.device("cpu"), options.seed, 0, f"{name} weights")
        models.draw_layers(network, random)
    return networks
