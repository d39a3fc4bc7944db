"""Precision, recall, density and coverage: which images lie in the other set's manifold.

A set's manifold is the union of balls around its points; the radius of each is the distance to the
point's k-th nearest other point. If sets share images, much depends on whether a point exactly on
the rim counts as inside. So the fast form |x|^2 + |y|^2 - 2 x y decides only the clear cases; near
the rim, squared differences of the coordinates are summed in one fixed order, so that equal pairs
have equal distances to the last bit.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from errors import UserError

_MARGIN = 8  # candidates for the k-th neighbour beyond k
_EXACT_VALUES = 2**20  # coordinates per chunk of pairs whose distances are computed exactly


def precision_recall(
    real: Tensor, fake: Tensor, *, k: int = 3, block: int = 1024
) -> tuple[float, float]:
    """Return precision and recall, each in [0, 1].

    precision = fraction of fakes y with |y - x| <= r(x) for some real x; recall = fraction of reals
    x with |x - y| <= r(y) for some fake y; r = distance to the k-th nearest other point of the set.

    real [N, D], fake [M, D]: finite floats, one row per image. Computed in float64 on fake's
    device, in tiles of `block` x `block` pairs. A point on the rim is inside, as in torch-fidelity
    (its input1 is `fake`, its input2 `real`): identical sets give 1 and 1, also with repeated
    images.

    Raises UserError for fewer than k + 1 images in a set; ValueError for other shapes, a value that
    is not finite, or k below 1.

    Source: Kynkaanniemi et al. 2019, equations 1 and 2.
    """
    _check(real, fake, k)
    real = real.to(fake.device)
    origin = _origin(real, fake)
    real_radii, fake_radii = (_radii(points, k, origin, block) for points in (real, fake))
    fakes_hit, _ = _count_inside(fake, real, real_radii, origin, block, rim=True)
    reals_hit, _ = _count_inside(real, fake, fake_radii, origin, block, rim=True)
    return _fraction(fakes_hit), _fraction(reals_hit)


def density_coverage(
    real: Tensor, fake: Tensor, *, k: int = 5, block: int = 1024
) -> tuple[float, float]:
    """Return density (0 or more, may exceed 1) and coverage in [0, 1].

    density = sum over fakes y of the number of reals x with |y - x| < r(x), divided by k M;
    coverage = fraction of reals x with |y - x| < r(x) for some fake y; r = distance to the k-th
    nearest other real.

    real [N, D], fake [M, D]: finite floats, one row per image. Computed in float64 on fake's
    device, in tiles of `block` x `block` pairs. A point on the rim is outside, as in the prdc
    package: identical sets without repeated images give 1 and 1, and a real with k copies of itself
    has an empty ball. The prdc package requires k + 2 images, since it sorts that many; k + 1 are
    enough for a k-th neighbour.

    Raises UserError for fewer than k + 1 images in a set; ValueError for other shapes, a value that
    is not finite, or k below 1.

    Source: Naeem et al. 2020 (section 3).
    """
    _check(real, fake, k)
    real = real.to(fake.device)
    origin = _origin(real, fake)
    radii = _radii(real, k, origin, block)
    balls_around_fakes, fakes_in_balls = _count_inside(fake, real, radii, origin, block, rim=False)
    return balls_around_fakes.sum().item() / (k * len(fake)), _fraction(fakes_in_balls)


def _check(real: Tensor, fake: Tensor, k: int) -> None:
    if real.dim() != 2 or fake.dim() != 2 or real.shape[1] != fake.shape[1]:
        raise ValueError(f"features {list(real.shape)}, {list(fake.shape)} are not [N, D], [M, D]")
    if k < 1:
        raise ValueError(f"k {k} is below 1")
    check_neighbours(len(real), len(fake), k)
    for name, features in (("real", real), ("fake", fake)):
        if not features.isfinite().all():
            raise ValueError(f"{name} features have values that are not finite")


def check_neighbours(real: int, fake: int, k: int) -> None:
    """Raise UserError for fewer than k + 1 images in a set."""
    for name, images in (("real", real), ("fake", fake)):
        if images < k + 1:
            raise UserError(
                f"`metrics` prdc: {images} {name} images, fewer than the {k + 1} needed for "
                f"{k} neighbours each; give more images or leave prdc out"
            )


def _origin(real: Tensor, fake: Tensor) -> Tensor:
    """Return a point in the middle of both sets: near it, the fast form has the least rounding."""
    return (real.mean(0, dtype=torch.float64) + fake.mean(0, dtype=torch.float64)) / 2


def _fraction(counts: Tensor) -> float:
    return (counts > 0).double().mean().item()


def _radii(points: Tensor, k: int, origin: Tensor, block: int) -> Tensor:
    """Return the squared distance of each point to its k-th nearest other point, [N] float64.

    The fast form selects candidates and exact distances the k-th among them. The result is exact
    unless more than `_MARGIN` points lie within its rounding (about 1e-12 |x|^2) of one another.
    """
    radii = []
    for start in range(0, len(points), block):
        rows = torch.arange(start, min(start + block, len(points)), device=points.device)
        candidates = _nearest(points, rows, k, origin, block)
        repeated = rows[:, None].expand_as(candidates)
        exact = _exact_distances(points, points, repeated.flatten(), candidates.flatten())
        radii.append(exact.view_as(candidates).kthvalue(k, dim=1).values)
    return torch.cat(radii)


def _nearest(points: Tensor, rows: Tensor, k: int, origin: Tensor, block: int) -> Tensor:
    """Return the nearest others of some rows, k and a few more, indices [rows, k + few]."""
    wanted = min(k + _MARGIN, len(points) - 1)
    distances = torch.empty(len(rows), 0, dtype=torch.float64, device=points.device)
    indices = torch.empty(len(rows), 0, dtype=torch.int64, device=points.device)
    for start in range(0, len(points), block):
        columns = torch.arange(start, min(start + block, len(points)), device=points.device)
        quick, _ = _quick_distances(points[rows], points[columns], origin)
        quick.masked_fill_(rows[:, None] == columns, torch.inf)  # a point is not its own neighbour
        distances = torch.cat([distances, quick], dim=1)
        indices = torch.cat([indices, columns.expand_as(quick)], dim=1)
        distances, kept = distances.topk(min(wanted, distances.shape[1]), dim=1, largest=False)
        indices = indices.gather(1, kept)
    return indices


def _count_inside(
    points: Tensor, centres: Tensor, radii: Tensor, origin: Tensor, block: int, *, rim: bool
) -> tuple[Tensor, Tensor]:
    """Return in how many balls each point lies and how many points each ball contains, int64.

    radii: [len(centres)], squared; rim: whether a point at exactly that distance is inside.
    Repeated rows are computed once and counted as often as they occur.
    """
    points, point_of, points_alike = _distinct(points)
    centres, centre_of, centres_alike = _distinct(centres)
    radii = torch.empty_like(radii[: len(centres)]).index_copy_(0, centre_of, radii)
    of_points = torch.zeros_like(points_alike)
    of_centres = torch.zeros_like(centres_alike)
    for row in range(0, len(points), block):
        for column in range(0, len(centres), block):
            rows, columns = slice(row, row + block), slice(column, column + block)
            inside = _inside(points[rows], centres[columns], radii[columns], origin, rim)
            of_points[rows] += (inside * centres_alike[columns]).sum(1)
            of_centres[columns] += (inside * points_alike[rows, None]).sum(0)
    return of_points[point_of], of_centres[centre_of]


def _distinct(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the distinct rows, which of them each row is, and how often each occurs."""
    return torch.unique(rows, return_inverse=True, return_counts=True, dim=0)


def _inside(points: Tensor, centres: Tensor, radii: Tensor, origin: Tensor, rim: bool) -> Tensor:
    """Return which points lie in which balls, [points, centres] bool."""
    quick, error = _quick_distances(points, centres, origin)
    beyond = quick - radii
    inside = beyond < -error
    i, j = (beyond.abs() <= error).nonzero(as_tuple=True)
    exact = _exact_distances(points, centres, i, j)
    inside[i, j] = exact <= radii[j] if rim else exact < radii[j]
    return inside


def _quick_distances(x: Tensor, y: Tensor, origin: Tensor) -> tuple[Tensor, Tensor]:
    """Return squared distances [N, M] by a matrix product, and a bound on their error [N, M].

    An inner product of D terms is off by at most D u sum |x_c y_c|, u = 2^-53; the bound counts it
    for both norms and the product, and includes the shift to `origin` and the exact form's error.
    """
    x, y = x.double() - origin, y.double() - origin
    norms = x.square().sum(1)[:, None] + y.square().sum(1)
    relative = 2 * (x.shape[1] + 16) * torch.finfo(torch.float64).eps
    return norms - 2 * x @ y.T, relative * norms


def _exact_distances(x: Tensor, y: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """Return |x_i - y_j|^2 of pairs of indices [P], [P] -> [P] float64, the same on any device."""
    pairs = max(1, _EXACT_VALUES // x.shape[1])
    chunks = zip(i.split(pairs), j.split(pairs), strict=True)
    return torch.cat([_sum_in_order((x[a].double() - y[b].double()).square()) for a, b in chunks])


def _sum_in_order(values: Tensor) -> Tensor:
    """Return the row sums of [P, D], adding halves: an order that no library can change."""
    width = 1 << (values.shape[1] - 1).bit_length()
    values = F.pad(values, (0, width - values.shape[1]))
    while width > 1:
        width //= 2
        values = values[:, :width] + values[:, width:]
    return values[:, 0]
