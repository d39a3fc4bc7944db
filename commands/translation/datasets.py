"""The data of translators, unpaired folders or pairs, opened and checked before training."""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

import torch
from torch import nn

import data
from commands import launch, pictures
from commands.translation.label_maps import check_label_maps
from commands.translation.options import TranslatorOptions, UnpairedOptions
from errors import UserError

PREVIEW_PICTURES = 6


def open_unpaired(
    options: UnpairedOptions,
    size_multiple: int = 4,
    backward: Mapping[str, bool] = MappingProxyType({"generator.safetensors": False}),
) -> launch.Data:
    """Find the files and check what can be checked before training.

    backward: file name of each generator -> whether it translates targets into sources.
    """
    domains = data.find_domains(options.dataroot, options.source_dir, options.target_dir)
    tests = {
        name: unpaired_test(domains, options.workers, backward=is_backward)
        for name, is_backward in backward.items()
    }
    description = {
        "source": data.fingerprint(domains.source),
        "target": data.fingerprint(domains.target),
    }
    if options.preprocess == "zoom_and_patch":
        if options.decode != "exact":
            raise UserError(
                f"--decode {options.decode}: has no effect with --preprocess zoom_and_patch, which "
                "reads each picture once; leave it out"
            )
        dataset = data.SingleImagePatches(
            domains.source,
            domains.target,
            crop_size=options.crop_size,
            batch_size=options.batch_size,
            flip=options.flip,
            seed=options.seed,
        )
        return _data(options, dataset, dataset.preview(1), description, tests)
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
        loading=pictures.loading(options),
    )
    shown = data.UnpairedFolders(
        domains.test_source, domains.test_target, preprocessing, seed=options.seed
    )
    sides = [
        data.Side(name, train, () if test is train else test)
        for name, train, test in (
            ("sources", domains.source, domains.test_source),
            ("targets", domains.target, domains.test_target),
        )
    ]
    found = data.glance("unpaired", sides, preprocessing)
    opened = _data(options, dataset, shown.preview(PREVIEW_PICTURES), description, tests)
    return opened._replace(findings=found)


def unpaired_test(domains: data.Domains, workers: int, *, backward: bool = False) -> launch.Test:
    """Return the test pictures to translate, and the real ones of the other domain."""
    sources, targets = domains.test_source, domains.test_target
    if backward:
        sources, targets = targets, sources
    translated = pictures.file_pictures(_test_label(sources), sources, None, workers, data.RGB)
    return launch.Test(
        partial(_translated, sources=translated, target=data.RGB),
        pictures.file_pictures(_test_label(targets), targets, None, workers),
    )


def _translated(
    network: nn.Module,
    device: torch.device,
    images_seen: int,
    sources: pictures.ReadPictures,
    target: data.Content,
) -> pictures.TranslatedPictures:
    return pictures.TranslatedPictures(sources.label, sources, network, device, target)


def _test_label(files: Sequence[Path]) -> str:
    return f"--evaluate_every: the test pictures in {files[0].parent}"


def open_paired(
    options: TranslatorOptions,
    source: data.Content,
    target: data.Content,
    size_multiple: int,
    *,
    direction: str,
    single: bool,
) -> launch.Data:
    """Find the pairs and check what can be checked before training.

    single: files of single pictures, each both source and target.
    """
    if single:
        pairs = data.find_pictures(options.dataroot)
    else:
        pairs = data.find_pairs(options.dataroot, options.source_dir, options.target_dir, direction)
    preprocessing = data.Preprocessing(
        options.preprocess, options.load_size, options.crop_size, options.flip, size_multiple
    )
    data.check_pairs([*pairs.train, *pairs.test], preprocessing)
    if source.kind == "labels":
        check_label_maps(pairs, source, options.workers)
    dataset = data.PairedFiles(
        pairs,
        preprocessing,
        seed=options.seed,
        source=source,
        target=target,
        loading=pictures.loading(options),
    )
    if pairs.test == pairs.train and options.evaluate_every:
        print(
            "no test pairs: --evaluate_every measures on the training pairs; give test or val, "
            "testA and testB",
            file=sys.stderr,
        )
    test_source, test_target = _test_sets(pairs, source, target, options.workers)
    description = {
        side: data.fingerprint([pair[place] for pair in pairs.train])
        for place, side in enumerate(("source", "target"))
    }
    fake = partial(_translated, sources=test_source, target=target)
    tests = {"generator.safetensors": launch.Test(fake, test_target)}
    preview = dataset.preview(PREVIEW_PICTURES)
    opened = _data(options, dataset, preview, description, tests, source, target)
    return opened._replace(findings=data.glance("pairs", _sides(pairs), preprocessing))


def _test_sets(
    pairs: data.Pairs, source: data.Content, target: data.Content, workers: int
) -> tuple[pictures.ReadPictures, pictures.ReadPictures]:
    """Return the two sides of the test pairs, under the names of the source files."""
    files = [pair.source for pair in pairs.test]
    names = data.names_below(files)
    sides = ((files, data.source_of_pair), ([p.target for p in pairs.test], data.target_of_pair))
    first, second = (
        pictures.ReadPictures(
            _test_label(side),
            pairs.test,
            files,
            names,
            partial(decode, source=source, target=target),
            workers,
        )
        for side, decode in sides
    )
    return first, second


def _sides(pairs: data.Pairs) -> list[data.Side]:
    """The files of both sides; once where one file holds both."""
    tests = [] if pairs.test == pairs.train else pairs.test
    sides = [
        data.Side(
            name,
            [pair[place] for pair in pairs.train],
            [pair[place] for pair in tests],
            pairs.train[0].halves,
        )
        for place, name in enumerate(("sources", "targets"))
    ]
    return sides if sides[0].train != sides[1].train else [sides[0]._replace(name="pairs")]


def _data(
    options: TranslatorOptions,
    dataset: data.TranslationDataset,
    preview: data.TranslationBatch,
    description: Mapping[str, str],
    tests: Mapping[str, launch.Test],
    source: data.Content = data.RGB,
    target: data.Content = data.RGB,
) -> launch.Data:
    epoch_images = options.epoch_images or dataset.epoch_images
    epochs = options.constant_epochs + options.decay_epochs
    about = {"source": source.describe(), "target": target.describe()}
    return launch.Data(
        dataset,
        preview,
        description,
        total_images=round(epochs * epoch_images),
        resolved={"epoch_images": epoch_images},
        about=lambda images_seen: about,
        tests=tests,
    )
