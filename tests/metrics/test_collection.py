"""Sets of pictures to numbers, with an extractor that is quickly computed by hand."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from errors import UserError
from metrics import frechet
from metrics.collection import ALONE, Collection, Sharing
from metrics.comparison import (
    check_statistics_suffice,
    compare,
    few_images,
    headline,
    is_better,
    noise_floor,
)
from metrics.extractor import Features
from metrics.inception_score import inception_score
from metrics.kernel_distance import kernel_distance
from metrics.manifold import density_coverage, precision_recall
from metrics.measures import Measures
from metrics.pairs import PairMeans
from metrics.sliced_wasserstein import PatchDescriptors, sliced_wasserstein
from metrics.statistics_file import Origin, SavedStatistics
from metrics.structural import l1, ms_ssim, psnr, ssim

CPU = torch.device("cpu")
OLD_NAMES = ("fid", "kid")


class Means:
    """Mean colours of the four quarters as features, and as the first of the logits."""

    origin = Origin("clean", 12, "abc")
    channels = 12
    device = CPU

    def __call__(self, images, *, logits=False):
        quarters = [F.adaptive_avg_pool2d(image.float() / 64, 2).flatten() for image in images]
        features = torch.stack(quarters)
        padded = F.pad(features, (0, 996), value=-9.0)
        return Features(features, padded if logits else None)


class Poisoned(Means):
    """Not a number for pictures whose first pixel is 13."""

    def __call__(self, images, *, logits=False):
        found = super().__call__(images, logits=logits)
        for row, image in zip(found.features, images, strict=True):
            if image[0, 0, 0] == 13:
                row[5] = float("nan")
        return found


def pictures(count, seed=0, side_px=16, darker=1.0):
    """Noise over a random colour, uint8 [3, S, S]."""
    random = np.random.default_rng(seed)
    colours = random.random((count, 3, 1, 1)) * 120 * darker
    levels = colours + random.integers(14, 130, (count, 3, side_px, side_px))
    return list(torch.from_numpy(levels.astype(np.uint8)))


def empty(names, measures, *, keep_at_most=None, is_fake=False, extractor=None, **options):
    return Collection(
        "`fake` dir" if is_fake else "`real` dir",
        names,
        measures,
        extractor or Means(),
        keep_at_most=keep_at_most,
        is_fake=is_fake,
        **options,
    )


def add_all(collection, images, indices=None, batch=5):
    indices = list(range(len(images)) if indices is None else indices)
    for start in range(0, len(indices), batch):
        some = indices[start : start + batch]
        collection.add(some, [images[index] for index in some])
    return collection


def collected(images, measures, indices=None, **options):
    names = [f"picture{index}" for index in range(len(images))]
    return add_all(empty(names, measures, **options), images, indices)


def both(measures, real, fake, **options):
    return (
        collected(real, measures, **options),
        collected(fake, measures, is_fake=True, **options),
    )


class Meeting:
    """Two or more threads in the place of processes: who calls waits for the same call of all."""

    def __init__(self, processes):
        self.barrier = threading.Barrier(processes, timeout=20)
        self.values = [None] * processes

    def sharing(self, rank):
        def gather(value):
            self.values[rank] = value
            self.barrier.wait()
            found = list(self.values)
            self.barrier.wait()
            return found

        def add(tensor):
            return tensor.copy_(sum(gather(tensor.clone())))

        return Sharing(add, gather)


def merged(parts):
    """Merge the collections of processes that share a set."""
    meeting = Meeting(len(parts))
    with ThreadPoolExecutor(len(parts)) as pool:
        done = [pool.submit(part.merge, meeting.sharing(rank)) for rank, part in enumerate(parts)]
        for future in done:
            future.result()
    return parts


def matrix(images):
    return Means()(images).features


# ---- What is kept ----


def test_every_number_is_that_of_the_function_it_is_named_for():
    real, fake = pictures(24), pictures(30, seed=1, darker=0.8)
    measures = Measures(metrics="fid,kid,is,prdc,fid_infinity,swd,ms_ssim", is_splits=3)
    numbers = compare(*both(measures, real, fake), measures)
    rows = matrix(real), matrix(fake)
    gaussians = [frechet.gaussian_of_features(part) for part in rows]
    assert numbers["fid"] == pytest.approx(frechet.frechet_distance(*gaussians), rel=1e-10)
    kid = kernel_distance(*rows)
    assert numbers["kid_mean"] == pytest.approx(kid.mean) and kid.mean > 0
    assert numbers["kid_interval"] == pytest.approx([kid.low, kid.high])
    assert numbers["kid_subset_size"] == 12
    precision, recall = precision_recall(*rows)
    assert (numbers["precision"], numbers["recall"]) == (precision, recall)
    assert (numbers["density"], numbers["coverage"]) == density_coverage(*rows)
    line = frechet.frechet_infinity(gaussians[0], rows[1])
    assert numbers["fid_infinity"] == pytest.approx(line, rel=1e-9)
    mean, std = inception_score(Means()(fake, logits=True).logits, splits=3)
    assert (numbers["is_mean"], numbers["is_std"]) == pytest.approx((mean, std))
    assert mean > 1.01
    patches = [PatchDescriptors(len(part), 16, 2020 + k) for k, part in enumerate((real, fake))]
    for part, images in zip(patches, (real, fake), strict=True):
        part.add(range(len(images)), torch.stack(images))
    assert numbers["swd"] == sliced_wasserstein(*patches, seed=2020).mean == numbers["swd_16"]
    for name, images in (("ms_ssim_real", real), ("ms_ssim", fake)):
        values = ms_ssim(torch.stack(images[::2]), torch.stack(images[1::2]))
        assert numbers[name] == pytest.approx(values.mean().item(), rel=1e-6)


def test_the_size_of_batches_changes_nothing_but_the_last_bits():
    images, measures = pictures(23), Measures(metrics="fid,is,ms_ssim,swd", is_splits=3)
    found = []
    for batch in (1, 7, 23):
        real = add_all(empty(range(23), measures), images, batch=batch)
        fakes = pictures(23, seed=1)
        fake = add_all(empty(range(23), measures, is_fake=True), fakes, batch=batch)
        found.append(compare(real, fake, measures))
    for other in found[1:]:
        assert other.keys() == found[0].keys()
        for name, value in other.items():
            assert value == pytest.approx(found[0][name], rel=1e-11), name


@pytest.mark.parametrize("at_most", [None, 5, 11, 40])
def test_at_most_a_seeded_choice_of_features_is_kept_and_moments_count_all(at_most):
    images, measures = pictures(30), Measures()
    found = collected(images, measures, keep_at_most=at_most)
    assert found.count == 30
    assert found.kept.all == (at_most in (None, 40))
    kept = [index for index in range(30) if index in found.kept.places]
    assert len(kept) == min(30, at_most or 30)
    assert torch.equal(found.features(), matrix([images[index] for index in kept]))
    again = collected(images, measures, indices=reversed(range(30)), keep_at_most=at_most)
    assert torch.equal(again.features(), found.features())
    other = collected(images, Measures(metric_seed=1), keep_at_most=at_most)
    assert (other.kept.places.keys() == found.kept.places.keys()) == found.kept.all
    expected = frechet.gaussian_of_features(matrix(images))
    assert frechet.frechet_distance(found.gaussian(), expected) == pytest.approx(0, abs=1e-10)


def test_moments_and_kept_features_give_the_same_distribution():
    few, many = pictures(8), pictures(20)
    assert collected(few, Measures()).moments is None  # the kept features say all of it
    wanted = collected(few, Measures(), moments=True)
    assert wanted.moments is not None and collected(many, Measures()).moments is not None
    other = frechet.gaussian_of_features(matrix(pictures(9, seed=3)))
    for found, images in ((wanted, few), (collected(many, Measures()), many)):
        expected = frechet.frechet_distance(frechet.gaussian_of_features(matrix(images)), other)
        assert frechet.frechet_distance(found.gaussian(), other) == pytest.approx(expected)


def test_kept_rows_lie_in_one_matrix_of_their_number():
    found = collected(pictures(30), Measures(), keep_at_most=3)
    storage = found.kept.features.untyped_storage()
    assert storage.nbytes() == 3 * found.extractor.channels * 4


def test_features_are_not_computed_where_nothing_needs_them():
    measures = Measures(metrics="swd,ms_ssim")
    found = collected(pictures(4), measures, extractor=lambda *_, **__: pytest.fail("computed"))
    assert found.kept is None and found.count == 4


def test_a_picture_with_features_that_are_no_numbers_is_named():
    images = pictures(8)
    images[6][0, 0, 0] = 13
    with pytest.raises(UserError) as caught:
        collected(images, Measures(), extractor=Poisoned())
    assert str(caught.value).startswith("`real` dir: the features of picture6 are not finite")
    assert "\n" not in str(caught.value)


# ---- Several processes ----


EVERYTHING = "fid,kid,is,prdc,swd,ms_ssim,l1,psnr"


def with_pairs(images, partners, measures, indices):
    pairs = PairMeans(["l1", "psnr"], CPU)
    found = collected(images, measures, indices, is_fake=True, pairs=pairs)
    for index in indices:
        found.add_pair(index, images[index], partners[index])
    return found


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_that_share_a_set_have_its_numbers(processes):
    real, fake = pictures(22), pictures(22, seed=1)
    measures = Measures(metrics=EVERYTHING, is_splits=2, kid_subset_size=8, kid_subsets=5)
    whole = with_pairs(fake, real, measures, range(22))
    expected = compare(collected(real, measures), whole, measures)
    # Both of a pair of neighbours go to the same process.
    shares = [[i for i in range(22) if i // 2 % processes == k] for k in range(processes)]
    reals = merged([collected(real, measures, share) for share in shares])
    fakes = merged([with_pairs(fake, real, measures, share) for share in shares])
    for pair in zip(reals, fakes, strict=True):
        assert [part.count for part in pair] == [22, 22]
        numbers = compare(*pair, measures)
        assert numbers.keys() == expected.keys()
        for name, value in numbers.items():
            assert value == pytest.approx(expected[name], rel=1e-9), name


def test_a_process_without_a_picture_takes_part():
    images, measures = pictures(2), Measures(metrics="fid,swd,ms_ssim")
    parts = merged([collected(images, measures), collected(images, measures, [])])
    for part in parts:
        assert part.count == 2 and part.features().shape == (2, 12)
        assert torch.equal(part.descriptors.levels[16], parts[0].descriptors.levels[16])
        assert part.descriptors.added.tolist() == [1, 1]


def test_a_set_of_which_nothing_could_be_read_merges_too():
    parts = [collected(pictures(4), Measures(metrics="fid,swd"), []) for _ in range(2)]
    assert [part.count for part in merged(parts)] == [0, 0]


def test_processes_that_saw_pictures_of_different_sizes_all_say_so():
    images, measures = pictures(2) + pictures(2, side_px=32), Measures(metrics="swd")
    parts = [collected(images, measures, share) for share in ([0, 1], [2, 3])]
    with pytest.raises(UserError, match="pictures of 16 and 32 pixels a side in `real` dir"):
        merged(parts)


def test_alone_merging_changes_nothing():
    found = collected(pictures(9), Measures(metrics="fid,swd"))
    before = found.features(), found.descriptors.levels[16].clone()
    found.merge(ALONE)
    assert found.count == 9 and torch.equal(found.features(), before[0])
    assert torch.equal(found.descriptors.levels[16], before[1])


# ---- Single metrics ----


def test_swd_draws_other_places_for_the_fakes():
    images, measures = pictures(4), Measures(metrics="swd")
    real, fake = both(measures, images, images)
    assert not torch.equal(real.descriptors.levels[16], fake.descriptors.levels[16])
    assert compare(real, fake, measures)["swd"] > 0


def test_swd_needs_square_pictures():
    with pytest.raises(UserError, match="`metrics` swd: a picture of 16x20 pixels"):
        collected([torch.zeros(3, 20, 16, dtype=torch.uint8)], Measures(metrics="swd"))


def diversity_of(images, indices, batch):
    measures = Measures(metrics="ms_ssim")
    found = empty([str(index) for index in range(len(images))], measures, is_fake=True)
    return add_all(found, images, indices, batch).diversity


@pytest.mark.parametrize("batch", [1, 2, 3, 9])
def test_diversity_pairs_neighbours_across_batches_and_leaves_out_missing_partners(batch):
    images = pictures(9)
    pairs = [(0, 1), (4, 5), (6, 7)]  # 3 is missing, and the last one has no partner
    expected = np.mean([ms_ssim(images[a][None], images[b][None]).item() for a, b in pairs])
    found = diversity_of(images, [0, 1, 2, 4, 5, 6, 7, 8], batch)
    assert found.sums[1] == 3 and found.mean() == pytest.approx(expected)
    assert found.waiting.keys() <= {8}


def test_diversity_without_a_pair_is_refused():
    with pytest.raises(UserError, match="`metrics` ms_ssim: no pair of pictures"):
        diversity_of(pictures(4), [0, 3], 2).mean()


def test_diversity_names_the_sizes_of_unequal_pictures():
    images = pictures(1) + [torch.zeros(3, 20, 18, dtype=torch.uint8)]
    with pytest.raises(UserError, match="pictures of 16x16 and 18x20 pixels in one set"):
        diversity_of(images, [0, 1], 1)


def test_means_of_pairs():
    fake, real = pictures(5), pictures(5, seed=1)
    pairs = PairMeans(["ssim", "l1", "psnr"], CPU)
    for pair in zip(fake, real, strict=True):
        pairs.add(*pair)
    batches = torch.stack(fake), torch.stack(real)
    expected = {measure.__name__: measure(*batches).mean().item() for measure in (ssim, l1, psnr)}
    assert pairs.means() == pytest.approx({"n_pairs": 5, **expected})
    assert list(pairs.means()) == ["n_pairs", "ssim", "l1", "psnr"]
    pairs.add(fake[0], fake[0])
    assert pairs.means()["psnr"] == float("inf")
    assert pairs.means()["l1"] == pytest.approx(expected["l1"] * 5 / 6)


def test_a_pair_of_unequal_sizes_is_named():
    found = empty(["a/b"], Measures(metrics="l1"), is_fake=True, pairs=PairMeans(["l1"], CPU))
    with pytest.raises(UserError, match=r"`fake` dir: a/b has 16x16 pixels and its partner 32x32"):
        found.add_pair(0, pictures(1)[0], pictures(1, side_px=32)[0])


# ---- Comparison ----


def test_the_noise_floor_has_the_metrics_of_features_between_halves_of_the_reals():
    measures = Measures(metrics="fid,kid,prdc,is", noise_floor=True, is_splits=2)
    numbers = compare(*both(measures, pictures(40), pictures(40, seed=1, darker=0.3)), measures)
    floor, others = numbers["noise_floor"], numbers["at_noise_floor"]
    names = {"fid", "kid_mean", "precision", "recall", "density", "coverage"}
    assert floor.keys() == others.keys() == {"n", "splits", "range", *names}
    assert floor["range"].keys() == names and (floor["n"], floor["splits"]) == (20, 5)
    assert 0 < floor["fid"] < numbers["fid"] and floor["fid"] < others["fid"]
    assert floor["kid_mean"] < numbers["kid_mean"]
    only = Measures(metrics="fid", noise_floor=True, noise_splits=5)
    again = compare(*both(only, pictures(40), pictures(40, seed=1)), only)["noise_floor"]
    assert again["fid"] == floor["fid"]
    assert again.keys() == {"n", "splits", "range", "fid", "kid_mean"}  # kid since they are few
    alone = noise_floor(collected(pictures(40), only), only)
    assert alone.keys() == {"noise_floor"} and alone["noise_floor"]["fid"] == floor["fid"]


def test_a_noise_floor_without_metrics_of_features_is_refused():
    with pytest.raises(UserError, match="`noise_floor` is given, but `metrics` is,swd has none"):
        Measures(metrics="is,swd", noise_floor=True).check()
    Measures(metrics="is,kid", noise_floor=True).check()


def test_no_number_of_another_network_is_called_fid_or_kid():
    measures = Measures(metrics="fid,kid,fid_infinity,prdc", features="clip.pt", noise_floor=True)
    numbers = compare(*both(measures, pictures(40), pictures(40, seed=1)), measures)
    names = [*numbers, *numbers["noise_floor"], *numbers["noise_floor"]["range"]]
    assert not [name for name in names if name.startswith(OLD_NAMES)]
    for part in (numbers, numbers["noise_floor"]):
        assert {"frechet_distance", "kernel_distance_mean", "precision"} <= part.keys()
    assert "frechet_distance_bias" in numbers and "frechet_distance_infinity" in numbers
    plain = Measures(metrics="fid,kid,fid_infinity,prdc", noise_floor=True)
    same = compare(*both(plain, pictures(40), pictures(40, seed=1)), plain)
    assert numbers["frechet_distance"] == same["fid"]
    assert numbers["kernel_distance_interval"] == same["kid_interval"]


def test_the_bias_of_few_pictures_is_about_what_they_add():
    """Two samples of one distribution: all of the distance is bias."""
    measures, found = Measures(metrics="fid"), []
    for seed in range(6):
        real, fake = pictures(60, seed=seed), pictures(60, seed=seed + 50)
        found.append(compare(*both(measures, real, fake), measures))
    assert all(numbers["fid_bias"] > 0 for numbers in found)
    ratio = sum(n["fid_bias"] for n in found) / sum(n["fid"] for n in found)
    assert 0.7 < ratio < 1.6
    # KID stands beside an FID of few pictures, though nobody asked for it.
    assert all("kid_mean" in numbers for numbers in found)


def statistics(images, origin=Means.origin):
    rows = matrix(images).double()
    return SavedStatistics(rows.mean(0), torch.cov(rows.T), len(images), origin, "`real` a.npz")


def test_statistics_in_place_of_pictures_give_the_same_distance():
    real, fake, measures = pictures(30), pictures(40, seed=1), Measures()
    whole = compare(*both(measures, real, fake), measures)
    half = compare(statistics(real), collected(fake, measures, is_fake=True), measures)
    assert half["fid"] == pytest.approx(whole["fid"], rel=1e-9)
    assert half["fid_bias"] != whole["fid_bias"]  # of the fakes alone
    assert "kid_mean" not in half
    both_saved = compare(statistics(real), statistics(fake), measures)
    assert both_saved == {"fid": pytest.approx(whole["fid"], rel=1e-9)}  # the bias is unknown


def test_the_bias_is_not_estimated_where_features_are_missing_or_too_few():
    measures = Measures()
    three = compare(*both(measures, pictures(3), pictures(3, seed=1)), measures)
    assert three.keys() == {"fid"}
    some = compare(*both(measures, pictures(30), pictures(30, seed=1), keep_at_most=15), measures)
    assert "fid_bias" not in some and "kid_mean" in some


def test_large_sets_of_which_few_could_be_read_keep_no_features():
    """With 10,000 names none are kept; that some are unreadable shows only afterwards."""
    measures = Measures()
    numbers = compare(*both(measures, pictures(30), pictures(30, seed=1), keep_at_most=0), measures)
    assert numbers.keys() == {"fid"}


@pytest.mark.parametrize("metric", ["kid", "prdc", "swd", "fid_infinity"])
def test_a_file_of_statistics_cannot_stand_for_pictures(metric):
    measures = Measures(metrics=metric)
    saved, found = statistics(pictures(20)), collected(pictures(20), measures)
    pair = (found, saved) if metric == "fid_infinity" else (saved, found)
    with pytest.raises(UserError, match="needs the pictures, but a file of statistics holds only"):
        compare(*pair, measures)


def test_a_noise_floor_of_a_file_of_statistics_is_refused():
    measures = Measures(noise_floor=True)
    with pytest.raises(UserError, match="`noise_floor`: needs the pictures"):
        compare(statistics(pictures(20)), collected(pictures(20), measures), measures)


@pytest.mark.parametrize(
    ("options", "is_fake", "needing"),
    [
        ({}, False, None),
        ({}, True, None),
        ({"metrics": "fid,fid_infinity,is"}, False, None),
        ({"metrics": "fid,fid_infinity,is"}, True, "`metrics` fid_infinity,is"),
        ({"metrics": "fid,kid,swd"}, False, "`metrics` kid,swd"),
        ({"noise_floor": True}, False, "`noise_floor`"),
        ({"noise_floor": True}, True, None),
    ],
)
def test_what_a_file_cannot_give_is_known_before_a_picture_is_read(options, is_fake, needing):
    if needing is None:
        check_statistics_suffice(Measures(**options), is_fake)
        return
    with pytest.raises(UserError, match=f"^{needing}: needs the pictures"):
        check_statistics_suffice(Measures(**options), is_fake)


@pytest.mark.parametrize("saved_first", [True, False])
def test_statistics_of_another_network_are_refused_where_the_file_does_not_say_so(saved_first):
    measures = Measures(features="clip.pt")
    other = SavedStatistics(torch.zeros(7), torch.eye(7), None, Origin(), "`real` a.npz")
    pair = [other, collected(pictures(20), measures)]
    with pytest.raises(UserError, match=r"`real` a\.npz: statistics of 7 channels, .* of 12"):
        compare(*(pair if saved_first else pair[::-1]), measures)


def test_a_line_through_too_few_pictures_is_refused():
    measures = Measures(metrics="fid_infinity")
    with pytest.raises(UserError, match="`metrics` fid_infinity: 9 fakes are too few"):
        compare(*both(measures, pictures(9), pictures(9, seed=1)), measures)


def test_the_smaller_set_decides_whether_pictures_are_few():
    few, many = statistics(pictures(20)), statistics(pictures(20))._replace(count=50_000)
    assert few_images(few, many) == few_images(many, few) == few_images(None, few) == 20
    assert few_images(many, many) == few_images(None, None) == 0
    assert few_images(many._replace(count=None), many) == 0


def test_scores_of_the_fakes_alone_need_no_reals():
    measures = Measures(metrics="is,ms_ssim", is_splits=2)
    numbers = compare(None, collected(pictures(6), measures, is_fake=True), measures)
    assert numbers.keys() == {"is_mean", "is_std", "ms_ssim"}


def test_which_numbers_are_better_and_which_stand_for_a_metric():
    assert is_better("fid", 1.0, 2.0) and not is_better("fid", 2.0, 2.0)
    assert is_better("precision", 0.9, 0.8) and not is_better("is_mean", 1.0, 2.0)
    assert [headline(Measures(name)) for name in ("kid,fid", "is", "prdc", "fid", "psnr")] == [
        *("kid_mean", "is_mean", "precision", "fid", "psnr")
    ]
    assert [headline(Measures(name, features="clip.pt")) for name in ("kid", "prdc", "fid")] == [
        *("kernel_distance_mean", "precision", "frechet_distance")
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metrics": "fid,fdi"}, "`metrics` fid,fdi: there is no metric 'fdi'; give names of fid"),
        ({"metrics": ""}, "there is no metric ''"),
        ({"layer": 100}, "`layer` 100: no such layer; give 64, 192, 768, 2048"),
        ({"metric_seed": -1}, "`metric_seed` -1: below 0"),
        ({"metrics": "is", "features": "a.pt"}, "needs the classes of FID's network"),
        ({"metrics": "lpips"}, "`lpips_weights` is missing"),
    ],
)
def test_measures_that_do_not_go_together_are_refused(options, words):
    with pytest.raises(UserError) as caught:
        Measures(**options).check()
    assert words in str(caught.value) and "\n" not in str(caught.value)
