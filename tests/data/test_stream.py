import contextlib
import os
import random
import signal
from itertools import islice

import numpy as np
import pytest
import torch

from data import Preprocessing, SingleImagePatches, Stream, UnpairedFolders
from data.batch import translation_batch
from errors import UserError
from tests.data.pictures import noise, save_noise

CROPPING = Preprocessing("resize_and_crop", 12, 8, flip=True)
WHOLE = Preprocessing("none", 8, 8, flip=False)


def side(tmp_path, name, count):
    return save_noise(tmp_path / name, [f"{number:03}.png" for number in range(count)], 10, 9)


@pytest.fixture
def dataset(tmp_path):
    return UnpairedFolders(side(tmp_path, "A", 7), side(tmp_path, "B", 5), CROPPING, seed=0)


def take(stream, count, first_image=0):
    with contextlib.closing(stream.batches(first_image)) as batches:
        return list(islice(batches, count))


def same(batch, other):
    return torch.equal(batch.source, other.source) and torch.equal(batch.target, other.target)


def told(call, *arguments, **options):
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_batch_holds_the_items_of_its_global_indices(dataset):
    for number, batch in enumerate(take(Stream(dataset, batch_size=3, workers=0), 4, 5)):
        items = [dataset[5 + 3 * number + place] for place in range(3)]
        assert torch.equal(batch.source, torch.stack([item.source for item in items]))
        assert torch.equal(batch.target, torch.stack([item.target for item in items]))


@pytest.mark.parametrize("workers", [0, 2])
def test_batch_k_is_the_first_batch_of_a_stream_that_starts_there(dataset, workers):
    whole = take(Stream(dataset, batch_size=4, workers=workers), 5)
    later = take(Stream(dataset, batch_size=4, workers=workers), 2, first_image=12)
    assert same(later[0], whole[3]) and same(later[1], whole[4])
    assert not same(whole[0], whole[3])


@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_gives_the_same_bits(dataset, workers):
    alone = take(Stream(dataset, batch_size=2, workers=0), 6)
    shared = take(Stream(dataset, batch_size=2, workers=workers), 6)
    assert all(same(one, other) for one, other in zip(alone, shared, strict=True))


def test_single_image_patches_stream_alike_with_and_without_workers(tmp_path):
    (source,), (target,) = side(tmp_path, "A", 1), side(tmp_path, "B", 1)
    dataset = SingleImagePatches([source], [target], crop_size=4, batch_size=4, seed=0)
    alone = take(Stream(dataset, batch_size=4, workers=0), 3)
    shared = take(Stream(dataset, batch_size=4, workers=2), 3)
    assert all(same(one, other) for one, other in zip(alone, shared, strict=True))


def test_the_ranks_together_read_what_one_reads(dataset):
    whole = take(Stream(dataset, batch_size=6, workers=0), 3, first_image=6)
    parts = [
        take(Stream(dataset, batch_size=6, workers=0, rank=rank, world_size=2), 3, first_image=6)
        for rank in range(2)
    ]
    for batch, low, high in zip(whole, *parts, strict=True):
        assert low.source.shape[0] == 3
        assert torch.equal(batch.source, torch.cat([low.source, high.source]))
        assert torch.equal(batch.target, torch.cat([low.target, high.target]))


@pytest.mark.parametrize("workers", [0, 1])
def test_no_global_generator_is_drawn_from(dataset, workers):
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    take(Stream(dataset, batch_size=2, workers=workers), 3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]


def test_files_of_a_batch_are_those_of_all_ranks_each_once(dataset):
    stream = Stream(dataset, batch_size=6, workers=0, rank=1, world_size=2)
    expected = {path for index in range(12, 18) for path in dataset.files(index)}
    files = stream.files_of_batch(12)
    assert set(files) == expected and len(files) == len(expected)
    assert files[:2] == list(dataset.files(12))


@pytest.mark.parametrize("workers", [0, 2])
def test_one_unreadable_file_in_200_is_told_once_and_goes_on(tmp_path, capsys, workers):
    dataset = UnpairedFolders(side(tmp_path, "A", 120), side(tmp_path, "B", 80), WHOLE, seed=0)
    bad = dataset.files(3)[0]
    bad.write_text("no picture")
    stream = Stream(dataset, batch_size=40, workers=workers)
    assert len(take(stream, 9)) == 9  # three epochs
    assert stream.unreadable == {bad: "not an image of a known kind"}
    assert capsys.readouterr().err == (
        f"{bad}: cannot be read (not an image of a known kind); the next readable image of its "
        "folder takes its place\n"
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_one_unreadable_file_in_10_ends_it(tmp_path, workers):
    dataset = UnpairedFolders(side(tmp_path, "A", 12), side(tmp_path, "B", 8), WHOLE, seed=0)
    bad = [dataset.files(place)[0] for place in (1, 3)]
    for path in bad:
        path.write_text("no picture")
    message = told(take, Stream(dataset, batch_size=4, workers=workers), 3)
    assert message.startswith("2 of 20 images (10.0%) cannot be read, more than 1 in 100: ")
    assert all(str(path) in message for path in bad) and "; repair or remove them" in message


def test_exactly_one_in_100_is_still_tolerated(tmp_path):
    dataset = UnpairedFolders(side(tmp_path, "A", 60), side(tmp_path, "B", 40), WHOLE, seed=0)
    dataset.files(0)[0].write_text("no picture")
    stream = Stream(dataset, batch_size=10, workers=0)
    take(stream, 6)
    assert len(stream.unreadable) == 1
    dataset.files(59)[0].write_text("no picture")
    assert told(take, stream, 6).startswith("2 of 100 images (2.0%)")


@pytest.mark.parametrize("workers", [0, 2])
def test_images_of_unequal_size_in_a_batch_are_told(tmp_path, workers):
    files = side(tmp_path, "A", 1), side(tmp_path, "B", 2)
    noise(20, 12).save(files[1][1])  # the others become 8x8
    dataset = UnpairedFolders(*files, WHOLE, seed=0)
    targets = [dataset.files(index)[1] for index in range(8)]
    assert len(set(targets)) == 2
    sizes = {files[1][0]: "8x8 px", files[1][1]: "20x12 px"}
    other = next(path for path in targets if path != targets[0])
    assert told(take, Stream(dataset, batch_size=8, workers=workers), 1) == (
        f"{targets[0]} ({sizes[targets[0]]}) and {other} ({sizes[other]}) do not fit into one "
        "batch; use `batch_size` 1 or a `preprocess` that crops"
    )
    assert len(take(Stream(dataset, batch_size=1, workers=workers), 8)) == 8


@pytest.mark.parametrize("workers", [0, 1])
def test_a_mistake_found_by_a_worker_arrives_as_the_same_line(tmp_path, workers):
    preprocessing = Preprocessing("crop", 12, 12, flip=True)
    files = side(tmp_path, "A", 1), side(tmp_path, "B", 1)
    dataset = UnpairedFolders(*files, preprocessing, seed=0)
    assert told(take, Stream(dataset, batch_size=1, workers=workers), 1) == (
        f"{files[0][0]}: image of 10x9 px is smaller than `crop_size` 12; use `preprocess` "
        "resize_and_crop or a smaller `crop_size`"
    )


class ProcessSpy:
    """Instead of pictures, what the reading process looks like."""

    epoch_images = 10
    file_count = 10

    def __init__(self, picture):
        self.picture = picture

    def __getitem__(self, index):
        state = [
            os.getpid(),
            signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
            torch.get_num_threads(),
        ]
        return self.picture._replace(source=torch.tensor(state), unreadable=())

    def batch_of(self, items, indices):
        return translation_batch(items, indices, self.files)

    def files(self, index):
        raise NotImplementedError

    def preview(self, count):
        raise NotImplementedError


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_workers_leave_signals_to_the_main_process_and_end_with_the_iterator(dataset):
    handler = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        batches = Stream(ProcessSpy(dataset[0]), batch_size=1, workers=2).batches(0)
        states = [next(batches).source[0].tolist() for _ in range(6)]
    finally:
        signal.signal(signal.SIGTERM, handler)
    pids = {state[0] for state in states}
    assert len(pids) == 2 and os.getpid() not in pids  # the same two processes all the time
    assert all(state[1:] == [1, 1] for state in states)
    for pid in pids:  # a scheduler's SIGTERM to all: the batches go on until the main process ends
        os.kill(int(pid), signal.SIGTERM)
    more = {next(batches).source[0].tolist()[0] for _ in range(6)}
    assert more == pids and all(is_alive(pid) for pid in pids)
    batches.close()
    assert not any(is_alive(pid) for pid in pids)


def test_numbers_that_cannot_work_are_told(dataset):
    assert "`batch_size` 0: below 1" in told(Stream, dataset, batch_size=0, workers=0)
    assert "`workers` -1: below 0" in told(Stream, dataset, batch_size=1, workers=-1)
    message = told(Stream, dataset, batch_size=5, workers=0, rank=0, world_size=2)
    assert "`batch_size` 5: not divisible by the 2 processes" in message


# ---- Batches whose size changes in the course of training ----


def growing(images_seen):
    """6 images a batch up to 12, then 2 up to 18, then 4."""
    return 6 if images_seen < 12 else 2 if images_seen < 18 else 4


STARTS = [0, 6, 12, 14, 16, 18, 22, 26, 30]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_of_changing_size_follow_one_another_without_gap(dataset, workers):
    stream = Stream(dataset, batch_size=growing, workers=workers)
    for batch, first, end in zip(take(stream, 8), STARTS, STARTS[1:], strict=False):
        assert stream.batch_size_at(first) == end - first
        sources = torch.stack([dataset[index].source for index in range(first, end)])
        assert torch.equal(batch.source, sources)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_of_changing_size_goes_on_from_the_middle(dataset, workers):
    whole = take(Stream(dataset, batch_size=growing, workers=0), 8)
    for number in (1, 3, 5):
        later = take(Stream(dataset, batch_size=growing, workers=workers), 2, STARTS[number])
        assert all(same(*pair) for pair in zip(later, whole[number:], strict=False))


def test_the_ranks_share_every_batch_of_changing_size(dataset):
    whole = take(Stream(dataset, batch_size=growing, workers=0), 8)
    parts = [
        take(Stream(dataset, batch_size=growing, workers=rank, rank=rank, world_size=2), 8)
        for rank in range(2)
    ]
    for batch, low, high in zip(whole, *parts, strict=True):
        assert low.source.shape[0] == high.source.shape[0] == batch.source.shape[0] // 2
        assert torch.equal(batch.source, torch.cat([low.source, high.source]))
        assert torch.equal(batch.target, torch.cat([low.target, high.target]))


def test_the_files_of_a_batch_follow_its_size(dataset):
    stream = Stream(dataset, batch_size=growing, workers=0)
    for first, end in zip(STARTS, STARTS[1:], strict=False):
        expected = {path for index in range(first, end) for path in dataset.files(index)}
        assert set(stream.files_of_batch(first)) == expected


def test_a_constant_function_is_its_number(dataset):
    number = take(Stream(dataset, batch_size=3, workers=0), 4, 5)
    function = take(Stream(dataset, batch_size=lambda images_seen: 3, workers=2), 4, 5)
    assert all(same(*pair) for pair in zip(number, function, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("size", "problem"), [(0, "below 1"), (3, "not divisible by the 2")])
def test_a_size_that_cannot_be_is_told_when_its_batch_comes(dataset, workers, size, problem):
    stream = Stream(
        dataset,
        batch_size=lambda images_seen: 2 if images_seen < 8 else size,
        workers=workers,
        world_size=2,
    )
    with contextlib.closing(stream.batches(0)) as batches:
        assert len(list(islice(batches, 4))) == 4  # the workers are ahead of them by then
        assert f"`batch_size` {size} at 8 images: {problem}" in told(next, batches)
    assert problem in told(stream.files_of_batch, 8)
    assert len(stream.files_of_batch(6)) >= 2
