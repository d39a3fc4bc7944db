"""Time and memory of losses on embeddings: ours against pytorch-metric-learning and lightly.

  python benchmarks/losses.py [--losses nt_xent sup_con] [--rows 256 4096] [--seconds 10]

Value and gradient of the same batch for all. Time: ours and one peer in turns within one process,
for about --seconds (at least 3 rounds). Memory: what one call adds to the peak, each in a process
of its own (Linux).
NT-Xent has two views of --rows rows, SupCon --rows rows in classes of eight, triplets --rows rows
of length 1 in classes of four, mined semi-hard with margin 0.2. lightly is left out if it is not
installed (`pip install --no-deps lightly lightly_utils` is enough). Prints one figure per line and
a JSON object last.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import pytorch_metric_learning.losses as pml
import torch
import torch.nn.functional as F
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.miners import TripletMarginMiner
from pytorch_metric_learning.reducers import MeanReducer
from torch import Tensor

import losses
from benchmarks.alternating import alternate, compared

Sides = dict[str, Callable[[Tensor], Tensor]]  # library -> loss of embeddings with a gradient
HAS_LIGHTLY = importlib.util.find_spec("lightly") is not None
# pytorch-metric-learning compares every positive pair with all negative pairs of the batch, as
# [2 N, 4 N^2] floats several times: 0.5 GB each at N = 256, 2,200 GB each at N = 4096.
PML_NT_XENT_ROWS = 256


def nt_xent(rows: int) -> Sides:
    """Return each library's NT-Xent, of [2 rows, D]."""
    sides: Sides = {"ours": lambda z: losses.nt_xent(*z.chunk(2), temperature=0.5)}
    if rows <= PML_NT_XENT_ROWS:
        peer, labels = pml.NTXentLoss(temperature=0.5), torch.arange(rows).repeat(2)
        sides["pytorch_metric_learning"] = lambda z: peer(z, labels)
    if HAS_LIGHTLY:
        from lightly.loss import NTXentLoss

        lightly = NTXentLoss(temperature=0.5)
        sides["lightly"] = lambda z: lightly(*z.chunk(2))
    return sides


def sup_con(rows: int) -> Sides:
    """Return each library's SupCon, of [rows, D]; lightly has none."""
    peer, labels = pml.SupConLoss(temperature=0.1), torch.arange(rows) // 8
    return {
        "ours": lambda z: losses.sup_con(z, labels, temperature=0.1),
        "pytorch_metric_learning": lambda z: peer(z, labels),
    }


def triplets(rows: int) -> Sides:
    """Return each library's loss of mined triplets, of [rows, D]; lightly has none."""
    labels = torch.arange(rows) // 4
    plain = {"distance": LpDistance(normalize_embeddings=False)}
    miner = TripletMarginMiner(margin=0.2, type_of_triplets="semihard", **plain)
    peer = pml.TripletMarginLoss(margin=0.2, reducer=MeanReducer(), **plain)

    def theirs(z: Tensor) -> Tensor:
        unit = F.normalize(z)
        return peer(unit, labels, miner(unit, labels))

    return {
        "ours": lambda z: losses.mined_triplet_margin(F.normalize(z), labels, margin=0.2),
        "pytorch_metric_learning": theirs,
    }


# Name -> (its losses for a number of rows, embeddings per row).
LOSSES: dict[str, tuple[Callable[[int], Sides], int]] = {
    "nt_xent": (nt_xent, 2),
    "sup_con": (sup_con, 1),
    "triplets": (triplets, 1),
}


def embeddings(name: str, rows: int, dimensions: int) -> Tensor:
    """Return normal numbers [rows or 2 rows, dimensions] with a gradient."""
    number = rows * LOSSES[name][1]
    generator = torch.Generator().manual_seed(0)
    return torch.randn(number, dimensions, generator=generator).requires_grad_()


def call(loss: Callable[[Tensor], Tensor], z: Tensor) -> float:
    """Compute value and gradient; return the value."""
    z.grad = None
    value = loss(z)
    value.backward()
    return value.item()


def memory_mb(key: str) -> float:
    """Return VmRSS or VmHWM, the resident memory of this process now or at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def memory_of(name: str, rows: int, dimensions: int, side: str) -> float:
    """Return the megabytes that one call adds to this process at its peak."""
    loss, z = LOSSES[name][0](rows)[side], embeddings(name, rows, dimensions)
    call(LOSSES[name][0](8)[side], embeddings(name, 8, dimensions))  # loads what is loaded lazily
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = memory_mb("VmRSS")
    call(loss, z)
    return memory_mb("VmHWM") - before


def in_own_process(name: str, rows: int, dimensions: int, side: str) -> float:
    """Return memory_of, measured in a fresh process."""
    command = [sys.executable, __file__, "--losses", name, "--rows", str(rows)]
    command += ["--dimensions", str(dimensions), "--memory_of", side]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(finished.stdout.split()[-1])


def measured(name: str, rows: int, dimensions: int, seconds: float) -> dict[str, object]:
    """Return values, seconds, ratios and memory of one loss at one size."""
    sides, z = LOSSES[name][0](rows), embeddings(name, rows, dimensions)
    found: dict[str, object] = {}
    for side, loss in sides.items():
        found[f"{side}_value"] = call(loss, z)
        found[f"{side}_peak_mb"] = in_own_process(name, rows, dimensions, side)
        if side == "ours":
            continue
        actions = {"ours": lambda _: call(sides["ours"], z), side: lambda _, f=loss: call(f, z)}
        trial = sum(map(sum, alternate(actions, 1, warm_ups=1).values()))
        rounds = min(max(3, int(seconds / trial)), 301)
        found |= compared(alternate(actions, rounds), "ours") | {f"{side}_rounds": rounds}
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=list(LOSSES))
    parser.add_argument("--rows", type=int, nargs="+", default=[256, 4096])
    parser.add_argument("--dimensions", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--memory_of", help="one library only; prints its megabytes")
    arguments = parser.parse_args()
    if arguments.memory_of:
        name, rows = arguments.losses[0], arguments.rows[0]
        print(memory_of(name, rows, arguments.dimensions, arguments.memory_of))
        return
    results = {}
    for name in arguments.losses:
        for rows in arguments.rows:
            found = measured(name, rows, arguments.dimensions, arguments.seconds)
            results[f"{name}_{rows}"] = found
            for key, value in found.items():
                print(f"{name} {rows} rows: {key:38} {value}")
    print(json.dumps({**vars(arguments), "threads": torch.get_num_threads(), "results": results}))


if __name__ == "__main__":
    main()
