"""Feature extractors for the metrics: FID's network, or another one."""

import hashlib
import importlib
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import metrics
from commands import efficientnet, encoders
from errors import UserError


def build_extractor(
    measures: metrics.Measures, device: torch.device, batch_size: int
) -> tuple[metrics.Extractor, bool]:
    """Return the feature extractor, and whether its weights are those of published results."""
    if measures.features:
        function, origin = load_function(measures.features, device)
        try:
            return metrics.CustomExtractor(function, origin, device), False
        except (ValueError, TypeError, RuntimeError) as error:
            raise UserError(
                f"--features {measures.features}: does not map uint8 [B, 3, H, W] to float "
                f"[B, D] ({error})"
            ) from error
    weights = load_weights(measures.weights)
    with torch.device("meta"):
        network = metrics.FidInception()
    network.load_state_dict(weights.state, assign=True)
    origin = metrics.Origin(measures.protocol, measures.layer, weights.sha256)
    extractor = metrics.InceptionExtractor(
        network,
        metrics.PROTOCOLS[measures.protocol],
        origin,
        device,
        batch_size=batch_size,
        exact=measures.exact,
    )
    return extractor, weights.published


def load_weights(path: Path | None) -> metrics.InceptionWeights:
    """Return the weights of FID's network; on failure name the metrics that do not need them."""
    try:
        return metrics.load_inception_weights(path)
    except UserError as error:
        others = ",".join(metrics.OF_PICTURES)
        raise UserError(
            f"{error}; without these weights, use --metrics {others}, or another network with "
            "evaluate.py --features"
        ) from error


def load_function(
    name: str, device: torch.device
) -> tuple[Callable[[Tensor], Tensor], metrics.Origin]:
    """Load the user's feature extractor.

    name: efficientnet_lite0; a run folder of train_features.py or an encoder's safetensors file; a
    TorchScript file; or module:function, whose result it is. The last two run code that the user
    has chosen.
    """
    if name == efficientnet.NAME:
        return efficientnet.load(device)
    if encoders.is_encoder(name):
        encoder = encoders.load(name, device)
        return encoder.function, encoder.origin
    return load_code(name, device, "--features")


def load_code(
    name: str, device: torch.device, option: str
) -> tuple[Callable[[Tensor], Tensor], metrics.Origin]:
    """Load a function of pictures: a TorchScript file, or the result of module:function().

    Both run code that the user has chosen, with `option`, which is for messages.
    """
    option, path = f"{option} {name}", Path(name)
    if path.is_file():
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # TorchScript is deprecated
                network = torch.jit.load(name, map_location=device).eval()
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"{option}: not a valid TorchScript file; give another, a run folder of "
                "train_features.py or its encoder.safetensors"
            ) from error
        return network, metrics.Origin(features=path.name, weights_sha256=sha256)
    module_name, _, function_name = name.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        function = vars(importlib.import_module(module_name))[function_name]
    except (ImportError, SyntaxError, KeyError, ValueError) as error:
        raise UserError(
            f"{option}: no file or folder, not {efficientnet.NAME}, and not module:function that "
            f"can be imported ({error})"
        ) from error
    finally:
        sys.path.pop(0)
    try:
        made = function()
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(
            f"{option}: {function_name}() does not return a function of pictures "
            f"({type(error).__name__}: {error})"
        ) from error
    if isinstance(made, nn.Module):
        made = made.to(device).eval()
    return made, metrics.Origin(features=name)
