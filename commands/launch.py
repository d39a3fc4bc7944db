"""Starts a training: data, method and loop; used by every training script."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol

import torch
from torch import nn

import data
import metrics
import models
import training
from commands import cli, evaluation, pictures
from commands.monitor import RunMonitor
from commands.options import BEFORE_OPTIONS, MAY_CHANGE, GeneratorRunOptions, RunOptions
from commands.pages.saved import SavedPage
from commands.trained import TrainedNetworks
from errors import UserError

EVALUATED_TOGETHER = 16
SHOWN_FINDINGS = 3


class TrainedMethod(training.Method, Protocol):
    """A method whose networks can be exported and initialised from another run."""

    trained: TrainedNetworks


class Test(NamedTuple):
    """The test set of a generator."""

    # (generator, device, images seen) -> its outputs
    fake: Callable[[nn.Module, torch.device, int], pictures.Pictures]
    real: pictures.ReadPictures


class Data(NamedTuple):
    """The data of a run."""

    dataset: data.EndlessDataset
    preview: NamedTuple  # a batch for previews
    description: Mapping[str, str]  # must be the same for a resume
    total_images: int  # to the end of the schedule
    resolved: Mapping[str, object]  # options whose values depend on the files
    about: Callable[[int], Mapping]  # images seen -> metadata for a generator's file
    tests: Mapping[str, Test] = MappingProxyType({})  # by the file name of a generator
    images_a_step: Callable[[int], int] | None = None  # of images seen; None: --batch_size
    findings: Sequence[data.Finding] = ()  # on a few files, the most serious first
    export: Callable[[Path, nn.Module, Mapping], None] = models.save_generator
    # (method, run folder, device, processes) -> an evaluation for `training.Reports`; None: by the
    # metrics of generators at --evaluate_every, on `tests`
    monitor: Callable[..., Callable[[int], Mapping[str, object]]] | None = None


def train(
    options: RunOptions,
    open_data: Callable[[RunOptions], Data],
    build_method: Callable[[RunOptions, torch.device, training.Processes], TrainedMethod],
    watch: training.Watch | None = None,
    presets: Mapping[str, Mapping] = MappingProxyType({}),
) -> None:
    """Open the data, build the method, compare with the run folder, and train."""
    given = cli.arguments_of(options, presets)
    processes = training.places_from_environment()
    device = training.choose_device(options.device, processes)
    with training.process_group(processes, device):
        if options.accelerate == "graph" and not training.can_capture(device):
            raise UserError(
                f"--accelerate graph: CUDA graphs need a GPU, and this run is on {device.type}; "
                "use --accelerate off"
            )
        if isinstance(options, GeneratorRunOptions):
            measures(options)
        files = open_data(options)
        options = replace(
            options,
            **files.resolved,
            total_images=options.total_images or files.total_images,
            device=device.type,
            precision=training.choose_precision(options.precision, device),
        )
        method = build_method(options, device, processes)
        config = cli.config(options, files.description, given)
        run = training.RunFolder(options.run_dir)
        run.check(config, MAY_CHANGE, BEFORE_OPTIONS)
        if not options.dry_run:
            _train(options, files, method, config, run, device, processes, watch)
        elif processes.writes:
            report_findings(files.findings)
            networks = method.trained.networks
            sizes = {name: models.describe(network) for name, network in networks.items()}
            plan = {**files.description, **sizes, "processes": processes.world_size}
            print(cli.describe(plan), cli.describe(config["options"]), sep="\n\n")


def report_findings(findings: Sequence[data.Finding]) -> None:
    """Print the most serious findings of a glance at the files to stderr."""
    for finding in findings[:SHOWN_FINDINGS]:
        print(f"data: {cli.named_as_options(finding.words)}", file=sys.stderr)
    if findings:
        print("data: check_data.py looks at all files, with thumbnails (--page)", file=sys.stderr)


def _train(
    options: RunOptions,
    files: Data,
    method: TrainedMethod,
    config: dict,
    run: training.RunFolder,
    device: torch.device,
    processes: training.Processes,
    watch: training.Watch | None,
) -> None:
    stream = data.Stream(
        files.dataset,
        batch_size=files.images_a_step or options.batch_size,
        workers=options.workers,
        rank=processes.rank,
        world_size=processes.world_size,
        pin_memory=device.type == "cuda",
    )
    if options.init_from and not training.list_checkpoints(run.checkpoints):
        start_from(options.init_from, method)
    training.gather_objects("checked")  # all have checked before one writes
    if processes.writes:
        run.create(config)
    pace = training.Pace(
        options.total_images,
        stream.batch_size_at,
        options.save_every,
        options.preview_every,
        options.log_every,
        options.evaluate_every,
    )
    exports = {
        name: lambda path, seen, network=network: export(path, network, seen, config, files)
        for name, network in method.trained.exported.items()
    }
    page = SavedPage(run.folder, device)
    try:
        evaluate = None
        if files.monitor:
            evaluate = files.monitor(method, run, device, processes)
        elif options.evaluate_every:
            evaluate = monitor(options, files, method, run, exports, device, processes)
        if processes.writes:  # now that nothing is refused any more
            report_findings(files.findings)
            if page.path.exists():  # of a run that is resumed
                page.write(going_on=True)
        reports = training.Reports(
            files.preview, exports, evaluate, watch or training.Watch(), page.write
        )
        with training.tf32_products(options.precision == "tf32"), page.failure_reported(processes):
            training.fit(method, stream, run, pace, reports, processes, device)
    finally:
        run.release()
        for path, reason in stream.unreadable.items():
            print(f"skipped {path}: {reason}", file=sys.stderr)


def monitor(
    options: GeneratorRunOptions,
    files: Data,
    method: TrainedMethod,
    run: training.RunFolder,
    exports: dict[str, Callable[[Path, int], None]],
    device: torch.device,
    processes: training.Processes,
) -> RunMonitor:
    """Prepare to evaluate the generators on the test pictures during training."""
    evaluator = evaluation.Evaluator(
        measures(options), device, processes, batch_size=EVALUATED_TOGETHER, skip_unreadable=True
    )
    tests = {
        name: (partial(test.fake, method.trained.generators[name], device), test.real)
        for name, test in files.tests.items()
    }
    return RunMonitor(evaluator, run, tests, exports)


def measures(options: GeneratorRunOptions) -> metrics.Measures:
    """Return the metrics for --evaluate_every; raises UserError for unknown ones."""
    wanted = metrics.Measures(
        metrics=options.metrics,
        protocol=options.protocol,
        layer=options.layer,
        weights=options.weights,
        features=options.features,
    )
    if wanted.needs("lpips"):
        raise UserError(f"--metrics {options.metrics}: lpips is for evaluate.py; leave it out")
    wanted.check()
    return wanted


def export(path: Path, network: nn.Module, images_seen: int, config: dict, files: Data) -> None:
    """Write a network with its description."""
    options = config["options"]
    kept = ("preset", "preprocess", "load_size", "crop_size", "ema_halflife_images")
    about = {name: options[name] for name in kept if name in options}
    command = {"command": config["command"], "images_seen": images_seen}
    files.export(path, network, {**command, **about, **files.about(images_seen)})


def start_from(path: Path, method: TrainedMethod) -> None:
    """Load the weights of another run's networks, or of a generator's or encoder's file."""
    option, networks = f"--init_from {path}", method.trained.networks
    if path.is_dir() or path.suffix == ".pt":
        states = training.read_weights(path, "--init_from").states
        states = {name: state for name, state in states.items() if name in networks}
        training.restore(networks, states, option)
    elif "encoder" in networks:
        state = models.load_encoder(path, "--init_from").network.state_dict()
        training.restore({"encoder": networks["encoder"]}, {"encoder": state}, option)
    elif "generator" not in networks:
        raise UserError(f"{option}: holds one generator, and this method has two; give a run")
    else:
        state = models.read_saved(path, "--init_from").network.state_dict()
        training.restore({"generator": networks["generator"]}, {"generator": state}, option)
    for name, average in method.trained.averages.items():
        average.load_state_dict(networks[name].state_dict())
