"""--probe: a linear classifier on the features of a finished run."""

import json
import sys

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import models
import training
from commands.features.measuring import Embedded, embedded, neighbour_accuracy
from commands.features.options import FeatureOptions
from commands.features.parts import open_parts
from errors import UserError

PROBE_FILE = "probe.safetensors"
PENALTY = 1e-3  # weight of |W|^2 / 2, for standardised features
ITERATIONS = 200  # at most


def probe(options: FeatureOptions) -> None:
    """Fit a linear classifier to the features of the run in `--run_dir`, and measure it.

    Writes it as probe.safetensors into the run folder, to be read by `models.load_classifier`, and
    prints one JSON object: the accuracy on the pictures to measure on, and the neighbours'.
    Raises UserError without labels or an encoder, and for pictures of other channels or sizes.
    """
    if not options.labels:
        raise UserError("--probe: fits a classifier; give --labels folders")
    saved = models.load_encoder(options.run_dir, "--run_dir")
    taken = saved.description.get("preprocessing", {})
    for name, key in (("channels", "channels"), ("crop_size", "size_px")):
        if vars(options)[name] != taken.get(key):
            raise UserError(
                f"--{name} {vars(options)[name]}: the encoder in {options.run_dir} was trained "
                f"with {taken.get(key)}; give that"
            )
    parts = open_parts(options)
    names = parts.train.labels.names
    alone = training.Processes()
    device = training.choose_device(options.device, alone)
    encoder = saved.network.to(device, memory_format=torch.channels_last)
    train, test = (
        embedded(encoder, part, options=options, device=device, processes=alone) for part in parts
    )
    head = fit_linear(train, len(names))
    found = {
        "linear_accuracy": accuracy(head, test),
        "linear_accuracy_of_training": accuracy(head, train),
        "knn_accuracy": neighbour_accuracy(train, test, len(names)),
        "n_train": len(train.files),
        "n_test": len(test.files),
        "images_seen": saved.description.get("images_seen"),
        "encoder_sha256": saved.sha256,
    }
    classifier = models.classifier_of(encoder, head)
    description = {**_kept(saved.description), "class_names": names, "probe": found}
    target = options.run_dir / PROBE_FILE
    training.write_output(
        target, "--run_dir", lambda path: models.save_classifier(path, classifier, description)
    )
    print(f"wrote {target}", file=sys.stderr)
    print(json.dumps(found))


def fit_linear(train: Embedded, classes: int) -> nn.Linear:
    """Return the linear classifier of least cross-entropy, by L-BFGS from zero; nothing is random.

    Features are standardised for the fit and the penalty; the layer takes them as they are.
    """
    features = train.features.double()
    mean, scale = features.mean(0), features.std(0).clamp(min=1e-6)
    inputs = (features - mean) / scale
    weight = torch.zeros(classes, features.shape[1], dtype=torch.double, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.double, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe", tolerance_change=1e-9
    )

    def loss() -> Tensor:
        solver.zero_grad()
        value = F.cross_entropy(inputs @ weight.T + bias, train.labels)
        value = value + PENALTY / 2 * weight.square().sum()
        value.backward()
        return value

    solver.step(loss)
    head = nn.Linear(features.shape[1], classes)
    with torch.no_grad():
        head.weight.copy_(weight / scale)
        head.bias.copy_(bias - (weight / scale) @ mean)
    return head


@torch.no_grad()
def accuracy(head: nn.Linear, measured: Embedded) -> float:
    """Return the share of pictures that are classified correctly."""
    found = head(measured.features).argmax(1)
    return (found == measured.labels).double().mean().item()


def _kept(description: dict) -> dict:
    """Return an encoder's description without what the classifier's file says of itself."""
    own = ("architecture", "sizes", "value_range")
    return {name: value for name, value in description.items() if name not in own}
