"""Time and memory of a step of SimCLR and MoCo against the same step of lightly's modules.

lightly's step is that of its CIFAR-10 benchmark: its heads, losses, memory bank and momentum
update, with the same encoder and views as ours; only the optimizer's step, zero_grad and the
reading of the loss are in both. Prints one figure per line and a JSON object last.

  python benchmarks/features_step.py [--size 32] [--batch_size 64] [--channels 16] [--rounds 9]
      [--device cpu|cuda]
"""

import argparse
import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch import Tensor, nn

import train_features
import training
from benchmarks.alternating import alternate, compared

METHODS = ("simclr", "moco")
Step = Callable[[list[Tensor], Tensor], float]


def build_ours(name: str, arguments: argparse.Namespace) -> train_features.Features:
    """Return our method; lightly's is built from the same networks."""
    row = {**train_features.PRESETS[name], "preset": name, "precision": "fp32"}
    row |= {"batch_size": arguments.batch_size, "crop_size": arguments.size}
    row |= {"base_channels": arguments.channels, "epoch_images": 50_000, "accelerate": "off"}
    options = train_features.Options(**row)
    return train_features.Features(options, torch.device(arguments.device), training.Processes())


def our_step(name: str, arguments: argparse.Namespace) -> Step:
    """Return our update on given views."""
    method = build_ours(name, arguments)
    set_rates(method.trained.optimizers.values())

    def step(views: list[Tensor], labels: Tensor) -> float:
        return method.update(views, labels)["loss"].item()

    return step


def lightly_step(name: str, arguments: argparse.Namespace) -> Step:
    """Return the update of lightly's benchmark program on given views."""
    from lightly.loss import NTXentLoss
    from lightly.models.modules import heads
    from lightly.models.utils import update_momentum

    device = torch.device(arguments.device)
    encoder = build_ours(name, arguments).encoder
    if arguments.plain_layout:
        encoder = encoder.to(memory_format=torch.contiguous_format)
    width = encoder.channels
    kind = heads.SimCLRProjectionHead if name == "simclr" else heads.MoCoProjectionHead
    network = nn.Sequential(encoder, kind(width, width, 128).to(device))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.03, momentum=0.9, weight_decay=5e-4)
    averaged = copy.deepcopy(network).requires_grad_(False)
    bank = (4096, 128) if name == "moco" else 0
    loss_of = NTXentLoss(0.5 if name == "simclr" else 0.1, memory_bank_size=bank).to(device)

    def step(views: list[Tensor], labels: Tensor) -> float:
        if name == "simclr":
            loss = loss_of(network(views[0]), network(views[1]))
        else:
            update_momentum(network, averaged, 0.99)
            with torch.no_grad():
                keys = averaged(views[1])
            loss = loss_of(network(views[0]), keys)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def set_rates(optimizers: object) -> None:
    """Give our optimizers the learning rate of lightly's."""
    for optimizer in optimizers:
        training.set_learning_rate(optimizer, 0.03)


SIDES = {"ours": our_step, "lightly": lightly_step}


def batch(arguments: argparse.Namespace) -> tuple[list[Tensor], Tensor]:
    """Return two views of noise, and labels."""
    random = torch.Generator().manual_seed(0)
    shape = (arguments.batch_size, 3, arguments.size, arguments.size)
    views = [torch.rand(shape, generator=random) * 2 - 1 for _ in range(2)]
    views = [view.to(arguments.device, memory_format=torch.channels_last) for view in views]
    return views, torch.zeros(arguments.batch_size, dtype=torch.int64, device=arguments.device)


def peak_memory(name: str, side: str) -> float:
    """Run the same command for one side only; return its peak memory in GB."""
    command = [sys.executable, *sys.argv, "--only", name, "--memory_of", side]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(finished.stdout.split()[-1])


def main() -> None:
    """Measure both methods and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=32, help="pixels of a side")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--channels", type=int, default=16, help="base channels of the encoder")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--only", choices=METHODS, nargs="*", default=METHODS)
    parser.add_argument("--memory_of", choices=SIDES, help="only its peak memory")
    parser.add_argument(
        "--plain_layout", action="store_true", help="lightly's weights not channels last"
    )
    arguments = parser.parse_args()
    views, labels = batch(arguments)
    if arguments.memory_of:
        import lightly.loss  # noqa: F401  in both, so that only the steps differ

        step = SIDES[arguments.memory_of](arguments.only[0], arguments)
        for _ in range(3):
            step(views, labels)
        print(training.peak_memory_gb(torch.device(arguments.device)))
        return
    # First, since a process starts with the peak of the one that starts it.
    found = {
        name: {f"{side}_peak_gb": peak_memory(name, side) for side in SIDES}
        for name in arguments.only
    }
    for name, row in found.items():
        steps = {side: build(name, arguments) for side, build in SIDES.items()}
        actions = {side: lambda _, act=act: act(views, labels) for side, act in steps.items()}
        row |= compared(alternate(actions, arguments.rounds, warm_ups=2), "ours")
        for key, value in row.items():
            print(f"{name:8} {key:22} {value}", flush=True)
    print(json.dumps({**vars(arguments), "rows": found, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
