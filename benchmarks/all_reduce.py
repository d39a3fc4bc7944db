"""Ways to average the gradients of several processes: time of whole training steps, in turns.

each: one all-reduce a tensor. flat: all of a network in one, after its backward pass (what training
does). buckets: of a few megabytes each, sent while the backward pass goes on, as soon as the last
gradient of a bucket is there. Gloo on CPU processes of one thread each, or NCCL on as many GPUs.

  python benchmarks/all_reduce.py [--processes 2 4] [--only cut pix2pix] [--size 128] [--rounds 7]
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
import torch.distributed as dist
from torch import Tensor, nn

import data
import train_cut
import train_pix2pix
import training
from benchmarks.alternating import alternate, compared
from benchmarks.gan_step import wait
from tests.processes import run_together

BUCKET_BYTES = 4e6
WAYS = ("each", "flat", "buckets")
METHODS = {
    "cut": (train_cut, train_cut.Cut),
    "pix2pix": (train_pix2pix, train_pix2pix.Pix2Pix),
}


def average_each(network: nn.Module) -> None:
    """One all-reduce a tensor."""
    for parameter in network.parameters():
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= dist.get_world_size()


class Buckets:
    """All-reduces of a network's gradients that begin during the backward pass.

    How often a weight's gradient grows in a step (several terms reach an encoder) is counted in the
    first step, after which the gradient is averaged like the others.
    """

    def __init__(self, network: nn.Module):
        self.network = network
        weights = [weight for weight in network.parameters() if weight.requires_grad]
        self.seen = dict.fromkeys(weights, 0)
        self.expected: dict[Tensor, int] = {}
        self.buckets: dict[Tensor, list[Tensor]] = {}
        self.missing: dict[int, int] = {}  # weights of each bucket without their last gradient
        self.sent: list[tuple[dist.Work, Tensor, list[Tensor]]] = []
        for weight in weights:
            weight.register_post_accumulate_grad_hook(self.grown)

    def grown(self, weight: Tensor) -> None:
        """Count; send the bucket whose last gradient this is."""
        self.seen[weight] += 1
        if self.seen[weight] == self.expected.get(weight):
            bucket = self.buckets[weight]
            self.missing[id(bucket)] -= 1
            if not self.missing[id(bucket)]:
                flat = torch.cat([one.grad.flatten() for one in bucket])
                self.sent.append((dist.all_reduce(flat, async_op=True), flat, bucket))

    def finish(self) -> None:
        """Wait for the buckets and hand out the means."""
        if self.expected:
            for work, flat, bucket in self.sent:
                work.wait()
                flat /= dist.get_world_size()
                parts = flat.split([weight.numel() for weight in bucket])
                for weight, part in zip(bucket, parts, strict=True):
                    weight.grad.copy_(part.view_as(weight))
        else:
            average_each(self.network)
            self.expected = {weight: times for weight, times in self.seen.items() if times}
            self._fill()
        self.sent = []
        self.seen = dict.fromkeys(self.seen, 0)
        self.missing = {id(bucket): len(bucket) for bucket in self.buckets.values()}

    def _fill(self) -> None:
        """Put weights into buckets, last layers first: their gradients come first."""
        bucket: list[Tensor] = []
        for weight in reversed(list(self.expected)):
            if sum(one.nbytes for one in bucket) >= BUCKET_BYTES:
                bucket = []
            bucket.append(weight)
            self.buckets[weight] = bucket


@contextmanager
def averaging(by: Callable[[nn.Module], None]) -> Iterator[None]:
    """Let optimizer steps average gradients by another function."""
    usual = training.modules.average_gradients
    training.modules.average_gradients = by
    try:
        yield
    finally:
        training.modules.average_gradients = usual


def averaging_of(way: str, method: training.Method) -> Callable[[nn.Module], None]:
    """Return the function that averages a network's gradients in this way."""
    if way == "buckets":
        buckets = {network: Buckets(network) for network in method.trained.networks.values()}
        return lambda network: buckets[network].finish()
    return {"each": average_each, "flat": training.average_gradients}[way]


def build(name: str, arguments: argparse.Namespace, device: torch.device) -> training.Method:
    """Return a method whose batch is one picture a process."""
    script, method = METHODS[name]
    processes = training.places_from_environment()
    values = {**script.PRESETS[name], "preset": name, "crop_size": arguments.size}
    values |= {"base_channels": arguments.channels, "discriminator_channels": arguments.channels}
    values |= {"batch_size": processes.world_size, "epoch_images": 1000, "precision": "fp32"}
    if name == "pix2pix":
        values["generator"] = "unet_128"
    return method(script.Options(**values), device, processes)


def measure(arguments: argparse.Namespace, name: str, file: Path) -> None:
    """In each process: time every way, in turns; the first process writes the seconds."""
    processes = training.places_from_environment()
    device = training.choose_device(arguments.device, processes)
    torch.set_num_threads(1)
    random = torch.Generator().manual_seed(processes.rank)
    shape = (2, 1, 3, arguments.size, arguments.size)
    batch = data.TranslationBatch(*(torch.rand(shape, generator=random) * 2 - 1).to(device))
    with training.process_group(processes, device):
        methods = {way: build(name, arguments, device) for way in WAYS}
        averages = {way: averaging_of(way, method) for way, method in methods.items()}

        def action(way: str) -> Callable[[int], None]:
            def call(number: int) -> None:
                with averaging(averages[way]):
                    methods[way].step(batch, number * processes.world_size)
                wait(device)
                dist.barrier()

            return call

        seconds = alternate({way: action(way) for way in WAYS}, arguments.rounds, warm_ups=2)
        weights = {
            way: torch.cat([p.detach().flatten() for p in method.generator.parameters()])
            for way, method in methods.items()
        }
    if processes.writes:
        off = {way: (weights[way] - weights["flat"]).abs().max().item() for way in WAYS}
        file.write_text(json.dumps({"seconds": seconds, "weights_off": off}))


def main() -> None:
    """Print a row for each method and number of processes, and a JSON object last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", nargs="+", type=int, default=[2, 4])
    parser.add_argument("--only", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--size", type=int, default=128, help="pixels; pix2pix needs 128 or more")
    parser.add_argument("--channels", type=int, default=64, help="width of all networks")
    parser.add_argument("--rounds", type=int, default=7, help="counted steps of each way")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = parser.parse_args()
    found = []
    for name in arguments.only:
        for processes in arguments.processes:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "seconds.json"
                run_together(measure, arguments, name, file, processes=processes)
                result = json.loads(file.read_text())
            row = {"method": name, "processes": processes, **compared(result["seconds"], "flat")}
            found.append(row | {"weights_off": result["weights_off"]})
            shown = "  ".join(f"{way} {row[f'{way}_seconds']:.3g} s" for way in WAYS)
            ratios = "  ".join(f"{way}/flat {row[f'{way}_ratio']:.2f}" for way in WAYS[::2])
            print(f"{name:8} {processes} processes  {shown}  {ratios}", flush=True)
    print(json.dumps({**vars(arguments), "rows": found}))


if __name__ == "__main__":
    main()
