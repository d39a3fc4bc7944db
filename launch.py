"""Bring data, method and loop together, as every training script does."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol

import torch
from torch import nn

import cli
import data
import evaluation
import metrics
import models
import training
from errors import UserError
from monitor import RunMonitor

PREVIEW_PICTURES = 6
EVALUATED_TOGETHER = 16


class UnpairedOptions(Protocol):
    """The options that say what unpaired pictures to read."""

    dataroot: Path | None
    source_dir: Path | None
    target_dir: Path | None
    preprocess: str
    load_size: int
    crop_size: int
    flip: bool
    jitter_in_decay: bool
    constant_epochs: float
    epoch_images: int
    batch_size: int
    workers: int
    seed: int


class PairedOptions(Protocol):
    """The options that say what pairs to read."""

    dataroot: Path | None
    source_dir: Path | None
    target_dir: Path | None
    direction: str
    lab: bool
    preprocess: str
    load_size: int
    crop_size: int
    flip: bool
    epoch_images: int
    evaluate_every: int
    workers: int
    seed: int


class TrainedMethod(training.Method, Protocol):
    """A method whose networks can be given away and taken from another run."""

    networks: dict[str, nn.Module]
    generators: dict[str, nn.Module]  # file name in the run folder -> the network to use
    averages: dict[str, training.MovingAverage]  # name of a network -> its average


class Data(NamedTuple):
    """What a run reads."""

    dataset: data.TranslationDataset
    preview: data.TranslationBatch
    epoch_images: int
    description: dict[str, str]
    # To measure with: file name of a generator -> what it translates, and the real ones.
    tests: dict[str, tuple[evaluation.ReadPictures, evaluation.ReadPictures]]
    source: data.Content = data.RGB
    target: data.Content = data.RGB


def open_unpaired(
    options: UnpairedOptions,
    size_multiple: int = 4,
    backward: Mapping[str, bool] = MappingProxyType({"generator.safetensors": False}),
) -> Data:
    """Find the files and check what can be known of them before training.

    backward: file name of each generator -> whether it translates targets into sources.
    """
    domains = data.find_domains(options.dataroot, options.source_dir, options.target_dir)
    tests = {
        name: unpaired_tests(domains, options.workers, backward=way)
        for name, way in backward.items()
    }
    description = {
        "source": data.fingerprint(domains.source),
        "target": data.fingerprint(domains.target),
    }
    if options.preprocess == "zoom_and_patch":
        dataset = data.SingleImagePatches(
            domains.source,
            domains.target,
            crop_size=options.crop_size,
            batch_size=options.batch_size,
            flip=options.flip,
            seed=options.seed,
        )
        epoch_images = options.epoch_images or dataset.epoch_images
        return Data(dataset, dataset.preview(1), epoch_images, description, tests)
    preprocessing = data.Preprocessing(
        options.preprocess, options.load_size, options.crop_size, options.flip, size_multiple
    )
    data.check_sizes([*domains.source, *domains.target], preprocessing)
    epoch_images = options.epoch_images or max(len(domains.source), len(domains.target))
    decay_starts_at = round(options.constant_epochs * epoch_images)
    dataset = data.UnpairedFolders(
        domains.source,
        domains.target,
        preprocessing,
        seed=options.seed,
        jitter_until_images=None if options.jitter_in_decay else decay_starts_at,
    )
    shown = data.UnpairedFolders(
        domains.test_source, domains.test_target, preprocessing, seed=options.seed
    )
    preview = shown.preview(PREVIEW_PICTURES)
    return Data(dataset, preview, epoch_images, description, tests)


def unpaired_tests(
    domains: data.Domains, workers: int, *, backward: bool = False
) -> tuple[evaluation.ReadPictures, evaluation.ReadPictures]:
    """Return the test pictures that are translated, and the real ones of the other side."""
    sources, targets = domains.test_source, domains.test_target
    if backward:
        sources, targets = targets, sources
    return (
        evaluation.file_pictures(_test_label(sources), sources, None, workers, data.RGB),
        evaluation.file_pictures(_test_label(targets), targets, None, workers),
    )


def _test_label(files: Sequence[Path]) -> str:
    return f"--evaluate_every: the test pictures in {files[0].parent}"


def open_paired(
    options: PairedOptions,
    source: data.Content,
    target: data.Content,
    size_multiple: int,
) -> Data:
    """Find the pairs and check what can be known of them before training."""
    if options.lab:
        pairs = data.find_pictures(options.dataroot)
    else:
        pairs = data.find_pairs(
            options.dataroot, options.source_dir, options.target_dir, options.direction
        )
    preprocessing = data.Preprocessing(
        options.preprocess, options.load_size, options.crop_size, options.flip, size_multiple
    )
    data.check_pairs([*pairs.train, *pairs.test], preprocessing)
    dataset = data.PairedFiles(
        pairs, preprocessing, seed=options.seed, source=source, target=target
    )
    if pairs.test == pairs.train and options.evaluate_every:
        print(
            "no test pairs: --evaluate_every measures on the training pairs; give test or val, "
            "testA and testB",
            file=sys.stderr,
        )
    files = [pair.source for pair in pairs.test]
    names = data.names_below(files)
    test_source, test_target = (
        evaluation.ReadPictures(
            label,
            pairs.test,
            files,
            names,
            partial(decode, source=source, target=target),
            options.workers,
        )
        for label, decode in (
            (_test_label(files), data.source_of_pair),
            (_test_label([pair.target for pair in pairs.test]), data.target_of_pair),
        )
    )
    description = {
        side: data.fingerprint([pair[place] for pair in pairs.train])
        for place, side in enumerate(("source", "target"))
    }
    tests = {"generator.safetensors": (test_source, test_target)}
    preview = dataset.preview(PREVIEW_PICTURES)
    epoch_images = options.epoch_images or dataset.epoch_images
    return Data(dataset, preview, epoch_images, description, tests, source, target)


def train(
    options: cli.RunOptions,
    open_data: Callable[[cli.RunOptions], Data],
    build_method: Callable[[cli.RunOptions, torch.device, training.Processes], TrainedMethod],
) -> None:
    """Read the data, build the method, compare with the run folder, and train.

    The options need `constant_epochs`, `decay_epochs` and `epoch_images` beside the shared ones.
    """
    processes = training.places_from_environment()
    device = training.choose_device(options.device, processes)
    with training.process_group(processes, device):
        measures(options)
        files = open_data(options)
        epochs = options.constant_epochs + options.decay_epochs
        options = replace(
            options,
            epoch_images=files.epoch_images,
            total_images=options.total_images or round(epochs * files.epoch_images),
            device=device.type,
            precision=training.choose_precision(options.precision, device),
        )
        method = build_method(options, device, processes)
        config = cli.config(options, files.description)
        run = training.RunFolder(options.run_dir)
        run.check(config, cli.MAY_CHANGE)
        if not options.dry_run:
            _train(options, files, method, config, run, device, processes)
        elif processes.writes:
            sizes = {name: models.describe(network) for name, network in method.networks.items()}
            plan = {**files.description, **sizes, "processes": processes.world_size}
            print(cli.describe(plan), cli.describe(config["options"]), sep="\n\n")


def _train(
    options: cli.RunOptions,
    files: Data,
    method: TrainedMethod,
    config: dict,
    run: training.RunFolder,
    device: torch.device,
    processes: training.Processes,
) -> None:
    stream = data.Stream(
        files.dataset,
        batch_size=options.batch_size,
        workers=options.workers,
        rank=processes.rank,
        world_size=processes.world_size,
        pin_memory=device.type == "cuda",
    )
    if options.init_from and not training.list_checkpoints(run.checkpoints):
        start_from(options.init_from, method)
    training.gather_objects("checked")  # all have looked before the first one writes
    if processes.writes:
        run.create(config)
    pace = training.Pace(
        options.total_images,
        options.batch_size,
        options.save_every,
        options.preview_every,
        options.log_every,
        options.evaluate_every,
    )
    exports = {
        name: lambda path, seen, network=network: export(path, network, seen, config, files)
        for name, network in method.generators.items()
    }
    try:
        evaluate = None
        if options.evaluate_every:
            evaluate = monitor(options, files, method, run, exports, device, processes)
        training.fit(method, stream, files.preview, run, pace, exports, processes, device, evaluate)
    finally:
        run.release()
        for path, reason in stream.unreadable.items():
            print(f"skipped {path}: {reason}", file=sys.stderr)


def monitor(
    options: cli.RunOptions,
    files: Data,
    method: TrainedMethod,
    run: training.RunFolder,
    exports: dict[str, Callable[[Path, int], None]],
    device: torch.device,
    processes: training.Processes,
) -> RunMonitor:
    """Prepare to measure the generators on the test pictures while they learn."""
    evaluator = evaluation.Evaluator(
        measures(options), device, processes, batch_size=EVALUATED_TOGETHER, skip_unreadable=True
    )
    tests = {
        name: (
            evaluation.TranslatedPictures(
                sources.label,
                sources,
                method.generators[name],
                device,
                files.target,
            ),
            targets,
        )
        for name, (sources, targets) in files.tests.items()
    }
    return RunMonitor(evaluator, run, tests, exports)


def measures(options: cli.RunOptions) -> metrics.Measures:
    """Return what --evaluate_every measures; raises UserError where that does not exist."""
    wanted = metrics.Measures(
        metrics=options.metrics,
        protocol=options.protocol,
        layer=options.layer,
        weights=options.weights,
    )
    if wanted.needs("lpips"):
        raise UserError(f"--metrics {options.metrics}: lpips is for evaluate.py; leave it out")
    wanted.check()
    return wanted


def export(path: Path, network: nn.Module, images_seen: int, config: dict, files: Data) -> None:
    """Write a generator to use and to give away."""
    options = config["options"]
    kept = ("preset", "preprocess", "load_size", "crop_size", "ema_halflife_images")
    about = {name: options[name] for name in kept if name in options}
    about |= {"source": files.source.describe(), "target": files.target.describe()}
    command = {"command": config["command"], "images_seen": images_seen}
    models.save_generator(path, network, command | about)


def start_from(path: Path, method: TrainedMethod) -> None:
    """Take over the weights of another run's networks, or of a generator file."""
    option = f"--init_from {path}"
    if path.is_dir() or path.suffix == ".pt":
        states = training.read_weights(path, "--init_from").states
        states = {name: state for name, state in states.items() if name in method.networks}
        training.restore(method.networks, states, option)
    elif "generator" not in method.networks:
        raise UserError(f"{option}: holds one generator, and this method has two; name a run")
    else:
        state = models.load_generator(path, "--init_from").network.state_dict()
        training.restore({"generator": method.networks["generator"]}, {"generator": state}, option)
    for name, average in method.averages.items():
        average.load_state_dict(method.networks[name].state_dict())
