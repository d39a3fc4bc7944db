"""Compare a set of pictures with real ones by FID, KID, IS, precision and recall, and others.

The last line of stdout is a JSON object. Folders are read with their subfolders; a set may also be
a file of statistics, the translations of --source by a trained translator, or --num pictures that
a trained generator makes from noise.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from rich.console import Console

import data
import metrics
import models
import training
from commands import cli, encoders, evaluation, pictures, results, translators
from commands.features import trust
from commands.options import check_least
from errors import UserError

STATISTICS = (".npz", ".pkl")


@dataclass(frozen=True)
class Options(metrics.Measures):
    """Every option of this command."""

    real: Path | None = None
    """Folder of real pictures, or a file of their statistics (.npz; .pkl of StyleGAN)."""
    fake: Path | None = None
    """Folder of generated pictures, or a file of their statistics."""
    checkpoint: Path | None = None
    """Instead of --fake: a run folder or a .safetensors file, or an official .pth of a translator;
    needs --source for a translator, --num for a generator from noise."""
    source: Path | None = None
    """Folder of pictures for --checkpoint to translate."""
    direction: Literal["a2b", "b2a"] | None = None
    """For a CycleGAN run: which of its generators, from A to B or from B to A."""
    num: int = 0
    """Number of pictures for --checkpoint to generate from noise, the same ones as generate.py's;
    0: translate --source."""
    batch_statistics: bool = False
    """For --source: translate as the pix2pix paper does, as in translate.py: batch norm with each
    picture's own statistics, and dropout on, drawn from --seed and the picture's name."""
    seed: int = 0
    """For --num, as in generate.py; for --batch_statistics, as in translate.py."""
    truncation: float = 1.0
    """For --num, as in generate.py; published numbers use 1."""
    save_stats: Path | None = None
    """Write the statistics of --real to this .npz, for later use as --real."""
    json: Path | None = None
    """Write the result to this file as well."""
    skip_unreadable: bool = False
    """Skip pictures that cannot be read, instead of refusing the set."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU if there is one."""
    batch_size: int = 16
    """Batch size for resizing and, on a GPU, for the feature network."""
    workers: int = 4
    """Worker processes for reading; 0 reads in the main process."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Collect both sets, compare them, and report the result."""
    options = cli.parse(Options, arguments)
    check(options)
    processes = training.places_from_environment()
    device = training.choose_device(options.device, processes)
    with training.process_group(processes, device):
        result = evaluate(options, device, processes)
    if processes.writes:
        report(result, options)


def check(options: Options) -> None:
    """Raise UserError for invalid or incompatible options."""
    options.check()
    check_least(options, batch_size=1, workers=0)
    saves_only = options.save_stats and options.fake is None and options.checkpoint is None
    if options.real is None:
        needing = [name for name in options.names if name not in metrics.WITHOUT_REALS]
        if needing or options.save_stats or options.noise_floor:
            raise UserError("--real is missing; give a folder of real pictures or their statistics")
    if options.fake is None and options.checkpoint is None and not saves_only:
        raise UserError("--fake is missing; give a folder of generated pictures, or a --checkpoint")
    if options.fake is not None and options.checkpoint is not None:
        raise UserError(f"--fake {options.fake}: given together with --checkpoint; leave one out")
    check_checkpoint(options)
    if options.real and options.fake and options.real.resolve() == options.fake.resolve():
        raise UserError(
            f"--fake {options.fake}: is the same as --real, every distance would be 0; give another"
        )
    for outer, inner in ((options.real, options.fake), (options.fake, options.real)):
        both = outer and inner and outer.is_dir() and inner.is_dir()
        if both and inner.resolve().is_relative_to(outer.resolve()):
            raise UserError(
                f"--real {options.real}: --real and --fake are nested, so that they would share "
                "pictures; give separate folders"
            )
    if options.save_stats and options.save_stats.suffix.lower() != ".npz":
        raise UserError(f"--save_stats {options.save_stats}: the file name must end with .npz")
    for name, path in (("save_stats", options.save_stats), ("json", options.json)):
        if path and (path.is_dir() or not path.absolute().parent.is_dir()):
            reason = "is a folder" if path.is_dir() else "its folder does not exist"
            raise UserError(f"--{name} {path}: {reason}; give another file")


def check_checkpoint(options: Options) -> None:
    """Raise UserError for incompatible options of --checkpoint."""
    if options.num < 0 or options.num == 1:
        raise UserError(f"--num {options.num}: give 2 or more, or 0 for a translator")
    if options.seed < 0:
        raise UserError(f"--seed {options.seed}: below 0; give 0 or more")
    if options.batch_statistics and options.source is None:
        raise UserError(
            "--batch_statistics: is for the translations of --source; give it with --checkpoint, "
            "or leave this out"
        )
    if not options.num:
        if options.seed and not options.batch_statistics:
            raise UserError(
                f"--seed {options.seed}: is for --num and --batch_statistics only; leave it out"
            )
        if options.truncation != 1:
            raise UserError(f"--truncation {options.truncation}: is for --num only; leave it out")
        if (options.checkpoint is None) != (options.source is None):
            raise UserError(
                "--checkpoint and --source: one without the other; give both or neither, or --num "
                "instead of --source for a generator from noise"
            )
        return
    if options.checkpoint is None:
        raise UserError(f"--num {options.num}: needs --checkpoint; give it, or leave --num out")
    if options.save_stats:
        raise UserError(
            f"--save_stats {options.save_stats}: with --num the reals are cropped as in this "
            "generator's training; save their statistics without --checkpoint"
        )
    for name, value in (("source", options.source), ("direction", options.direction)):
        if value is not None:
            raise UserError(f"--num {options.num}: given together with --{name}; leave one out")
    if not 0 <= options.truncation <= 1:
        raise UserError(f"--truncation {options.truncation}: outside 0 to 1; give 1 for no change")
    pairs = [name for name in options.names if name in metrics.OF_PAIRS]
    if pairs:
        raise UserError(
            f"--metrics {options.metrics}: {pairs[0]} compares pairs, and pictures from noise "
            "(--num) are not paired; leave it out"
        )


class Sets(NamedTuple):
    """The sets of pictures to compare."""

    real: pictures.Set | None
    fake: pictures.Set | None
    partners: pictures.Set | None  # the reals as the translator's target content, for pairs
    real_preprocess: str | None  # how the reals are prepared, if not read as they are


def open_sets(options: Options, device: torch.device) -> Sets:
    """Find the pictures, or the network that makes them."""
    real = open_set(options.real, "--real", options.workers)
    if options.save_stats and isinstance(real, metrics.SavedStatistics):
        raise UserError(
            f"--save_stats {options.save_stats}: --real is a file of statistics; give a folder"
        )
    fake = open_set(options.fake, "--fake", options.workers)
    read = isinstance(real, pictures.ReadPictures)
    if options.num:
        fake, preprocessing, content = sampled(options, device)
        if not read:
            return Sets(real, fake, None, None)
        prepare = partial(data.prepared_levels, preprocessing=preprocessing, content=content)
        seen_as = f"{preprocessing.mode} {preprocessing.load_size} {preprocessing.crop_size}"
        return Sets(replace(real, decode=prepare), fake, None, seen_as)
    if options.checkpoint:
        fake = translated(options, device)
        if read:
            partners = replace(real, decode=partial(data.viewed_levels, content=fake.target))
            return Sets(real, fake, partners, None)
    return Sets(real, fake, None, None)


def evaluate(
    options: Options, device: torch.device, processes: training.Processes
) -> dict[str, object]:
    """Return the numbers and their origin; {} in all processes but the first."""
    sets = open_sets(options, device)
    options = with_noise_floor(options, sets.real)
    evaluator = evaluation.Evaluator(
        options,
        device,
        processes,
        batch_size=options.batch_size,
        skip_unreadable=options.skip_unreadable,
        moments_of_reals=options.save_stats is not None,
        needs_network=not all(isinstance(found, metrics.SavedStatistics) for found in sets[:2]),
    )
    real, fake = evaluator.collect_both(sets.real, sets.fake, sets.partners)
    if not processes.writes:
        return {}
    numbers = {}
    if fake:
        numbers = metrics.compare(real, fake, options)
    elif options.noise_floor:
        numbers = metrics.noise_floor(real, options)
    if options.save_stats:
        save(options.save_stats, real, evaluator.origin)
    counts = {"n_real": real.count if real else None, "n_fake": fake.count if fake else None}
    return {**numbers, **counts, **origin_of(options, evaluator, sets.real_preprocess)}


def origin_of(
    options: Options, evaluator: evaluation.Evaluator, real_preprocess: str | None
) -> dict[str, object]:
    """Return what the numbers rest on: network, protocol, settings, versions."""
    origin = evaluator.origin
    trusted = None
    if origin.features and encoders.is_encoder(options.features):
        trusted, line = trust.quote(options.features, origin.weights_sha256)
        print(line, file=sys.stderr)
    samples = bool(options.num)
    given = {
        "features": origin.features or None,
        "preprocessing": origin.preprocessing or None,
        "trust": trusted or None,
        "real_preprocess": real_preprocess,
        "batch_statistics": options.batch_statistics or None,
        "seed": options.seed if samples or options.batch_statistics else None,
        "truncation": options.truncation if samples else None,
    }
    return {
        "protocol": origin.protocol,
        "layer": origin.layer,
        **{name: value for name, value in given.items() if value is not None},
        "weights_sha256": origin.weights_sha256,
        "weights_published": evaluator.published if origin.weights_sha256 else None,
        "exact": options.exact,
        "versions": cli.versions(),
    }


def with_noise_floor(options: Options, real: pictures.Set) -> Options:
    """Turn on --noise_floor for --features, where nobody knows from experience what is small."""
    if not (options.features and options.needs(*metrics.FLOORED)):
        return options
    if isinstance(real, metrics.SavedStatistics):
        return options
    return replace(options, noise_floor=len(real.names) >= metrics.images_for_floor(options))


def open_set(path: Path | None, option: str, workers: int) -> pictures.Set:
    """Open a folder of pictures, or read a file of statistics."""
    if path is None:
        return None
    if path.suffix.lower() in STATISTICS and not path.is_dir():
        return metrics.load_statistics(path, option)
    if path.is_file():
        raise UserError(f"{option} {path}: neither a folder nor statistics (.npz, .pkl)")
    files = data.list_images(path, option)
    return pictures.file_pictures(f"{option} {path}", files, path, workers)


def translated(options: Options, device: torch.device) -> pictures.TranslatedPictures:
    """Return the checkpoint's translations of the source folder."""
    network, source, target = translators.open_translator(
        options.checkpoint, options.direction, device, "give --num instead of --source"
    )
    label = f"--checkpoint {options.checkpoint} of --source {options.source}"
    files = data.list_images(options.source, "--source")
    sources = pictures.file_pictures(label, files, options.source, options.workers, source)
    return pictures.TranslatedPictures(
        label, sources, network, device, target, options.batch_statistics, options.seed
    )


def sampled(
    options: Options, device: torch.device
) -> tuple[pictures.SampledPictures, data.Preprocessing, data.Content]:
    """Return the checkpoint's samples, and how its training preprocessed the reals."""
    sampler = models.load_sampler(
        options.checkpoint, "--checkpoint", "give --source instead of --num"
    )
    sampler.network.to(device)
    label = f"--checkpoint {options.checkpoint}"
    fake = pictures.SampledPictures(label, sampler, options.num, options.seed, options.truncation)
    description = sampler.description
    crop_size = description.get("crop_size", sampler.size_px)
    load_size = description.get("load_size") or crop_size
    preprocessing = data.Preprocessing(
        "centre_crop", load_size, crop_size, flip=False, size_multiple=1
    )
    return fake, preprocessing, data.Content("colour", sampler.out_channels)


def save(path: Path, real: metrics.Collection, origin: metrics.Origin) -> None:
    """Write the statistics of the reals, atomically."""
    moments = real.moments
    found = metrics.SavedStatistics(moments.mean(), moments.covariance(), real.count, origin)
    training.write_output(
        path, "--save_stats", lambda temporary: metrics.save_statistics(temporary, found)
    )


def report(result: dict[str, object], options: Options) -> None:
    """Print remarks on stderr, and a table and the JSON object on stdout."""
    for remark in results.remarks(result, options):
        print(remark, file=sys.stderr)
    Console().print(*results.tables(result), sep="\n")
    cli.report_json(results.finite(result), options.json)


if __name__ == "__main__":
    cli.run(main)
