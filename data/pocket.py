"""Pocket horse2zebra: small drawn scenes whose horse and zebra differ only in their coats.

An animal is a handful of tapered capsules in body coordinates (x towards the head, y down, nose to
tail about 1), blended into one smooth shape. Each has a coordinate along its axis; a zebra's
stripes are the level sets of the blended coordinate: upright on the torso, rings on neck and legs.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from errors import UserError

SAMPLES = 3  # along each side of a pixel
STRIPE_PERIOD = 0.098  # in body coordinates: 5 to 6 pixels of a 64 pixel picture
BLEND = 0.016  # width of the blend between capsules, in body coordinates
FIT = 0.95  # size of the largest animal, as a fraction of the picture's width or height
FAR = np.float32(0.7)  # brightness of the legs on the far side


def _rgb(colours: str) -> np.ndarray:
    """Colours such as "ff8000 000000" as float32 [N, 3] in [0, 1]."""
    return np.frombuffer(bytes.fromhex(colours), np.uint8).reshape(-1, 3) / np.float32(255)


# coat, mane and tail, lower legs of: bay, chestnut, black, grey, palomino, dun
HORSES = _rgb(
    "804a26 1f1714 2b1f1a  9e4c21 6b2e14 8c421f  383234 131012 211f21"
    "9e9ea6 525259 6b6b73  d4a157 8c5e2b c49454  ab8a61 38291f 544030"
).reshape(-1, 3, 3)
WHITE, BLACK = _rgb("f2ede3 1b1715")


class Scene(NamedTuple):
    """One scene drawn twice, and the mask of its animal."""

    horse: np.ndarray  # [size, size, 3] uint8
    zebra: np.ndarray  # [size, size, 3] uint8
    mask: np.ndarray  # [size, size] bool, True on the animal


# What a pixel can show. The animal's parts are in drawing order, later ones over earlier ones;
# the far hooves are dark parts as well.
REGIONS = (
    *("sky", "cloud", "far hills", "near hills", "grass"),
    *("far legs", "far hooves", "tail", "mane", "coat", "dark parts"),
)


class _Capsule(NamedTuple):
    start: np.ndarray
    end: np.ndarray
    radius_start: float
    radius_end: float
    along: float = 0.75 * STRIPE_PERIOD  # the stripe coordinate at the start: here white
    rate: float = 0.0  # its change by length


class _Shape(NamedTuple):  # each [height, width]
    inside: np.ndarray  # bool
    along: np.ndarray  # float32, the stripe coordinate
    light: np.ndarray  # float32, from -1 in the shade to 1 in the sun


def _point(x: float, y: float) -> np.ndarray:
    return np.array([x, y], dtype=np.float32)


def _heading(angle: float) -> np.ndarray:
    """The unit vector `angle` radians above the body's forward axis."""
    return _point(np.cos(angle), -np.sin(angle))


def _leg(hip: np.ndarray, swing: float, bend: float, thick: float) -> list[_Capsule]:
    """Thigh, shin and hoof; `swing` turns the leg forward, `bend` turns the shin back."""
    thigh, shin = _heading(swing - np.pi / 2), _heading(swing - bend - np.pi / 2)
    knee, foot = hip + 0.175 * thigh, hip + 0.175 * thigh + 0.15 * shin
    along = 0.05 - float(hip[0])  # continues the torso's stripes
    upper = _Capsule(hip, knee, thick, 0.041, along, 1)
    lower = _Capsule(knee, foot, 0.041, 0.027, along + 0.175, 1)
    return [upper, lower, _Capsule(foot, foot + 0.028 * _heading(swing - bend - 1.1), 0.03, 0.032)]


def _pose(rng: np.random.Generator) -> list[list[_Capsule]]:
    """Draw build, gait, neck and tail: far legs and hooves, tail, crest, body, dark parts, mane."""
    girth = rng.uniform(0.148, 0.172)
    hip, belly, chest = _point(-0.2, -0.005), _point(-0.02, 0.025), _point(0.13, 0.005)
    rump = _Capsule(belly, hip, girth * 0.97, girth, 0.02, 1)
    ribs = _Capsule(belly, chest, girth * 0.97, girth * 0.97, 0.02, -1)
    legs, stride, phase = [], rng.uniform(0.08, 0.42), rng.uniform(0, 2 * np.pi)
    # near hind, near fore, far hind, far fore; diagonal legs swing together as in a trot
    for i, hip_x in enumerate((-0.225, 0.16, -0.19, 0.13)):
        turn = phase + np.pi * (i in (1, 2)) + rng.uniform(-0.4, 0.4)
        bend = 0.12 + 1.6 * stride * max(0.0, np.cos(turn))
        swing, thick = 0.05 + stride * np.sin(turn), 0.07 if i % 2 else 0.092
        legs.append(_leg(_point(hip_x, 0.065), swing, bend, thick))
    rise = rng.uniform(0.42, 1.1)
    withers, face = _point(0.16, -0.065), _heading(0.35 * rise - rng.uniform(0.9, 1.25))
    poll = withers + rng.uniform(0.26, 0.31) * _heading(rise)
    nose, back = poll + 0.165 * face, _heading(rise + np.pi / 2)  # back: from neck to crest
    neck = _Capsule(withers, poll, 0.112, 0.064, -0.15, -1)
    head = _Capsule(poll, nose, 0.066, 0.042, -0.45, -1)
    far_ear = _Capsule(poll + 0.04 * back, poll + 0.115 * _heading(1.7), 0.023, 0.008)
    ear = far_ear._replace(start=far_ear.start + 0.035 * face, end=far_ear.end + 0.035 * face)
    crest = _Capsule(withers + 0.105 * back, poll + 0.078 * back, 0.026, 0.032, -0.15, -1)
    roots = np.linspace(withers + 0.085 * back, poll + 0.055 * back, 6)
    mane = [_Capsule(root, root + _point(-0.012, 0.075), 0.03, 0.008) for root in roots]
    mane += [_Capsule(poll + 0.05 * back, poll + 0.06 * face + 0.045 * back, 0.022, 0.01)]
    dock, swish = hip + _point(-0.125, -0.075), rng.uniform(-0.3, 0.45)
    bone = _Capsule(dock, dock + 0.12 * _heading(-2.2 - swish * 0.6), 0.026, 0.03, 0, 1)
    tuft = _Capsule(bone.end, bone.end + 0.17 * _heading(-1.65 - swish), 0.036, 0.018, 0.12)
    muzzle = _Capsule(nose - 0.005 * face, nose + 0.01 * face, 0.044, 0.036)
    eye = _Capsule(poll + 0.05 * face, poll + 0.052 * face, 0.014, 0.014)
    body = [rump, ribs, neck, head, far_ear, ear, *legs[0][:2], *legs[1][:2]]
    far_legs, far_hooves = [*legs[2][:2], *legs[3][:2]], [legs[2][2], legs[3][2]]
    dark = [muzzle, eye, legs[0][2], legs[1][2]]
    return [far_legs, far_hooves, [bone, tuft], [crest], body, dark, mane]


def _blend(capsules: list[_Capsule], x: np.ndarray, y: np.ndarray, sun: np.ndarray) -> _Shape:
    """Smooth union -k log sum exp(-distance / k), and the coordinates weighted by its softmax."""
    # x is [1, width], y [height, 1]. Tiny, not 0: far away every weight underflows
    total, along, light = np.full((3, y.size, x.size), np.finfo(np.float32).tiny)
    for part in capsules:
        axis = part.end - part.start
        length = float(np.hypot(*axis))
        x0, y0 = x - part.start[0], y - part.start[1]
        reach = x0 * (axis[0] / length**2) + y0 * (axis[1] / length**2)
        t = np.clip(reach, 0, 1)
        dx, dy = x0 - t * axis[0], y0 - t * axis[1]
        radius = part.radius_start + t * (part.radius_end - part.radius_start)
        weight = np.exp((radius - np.sqrt(dx * dx + dy * dy)) * (1 / BLEND))
        total += weight
        along += weight * (part.along + (part.rate * length) * reach)
        light += weight * ((dx * sun[0] + dy * sun[1]) / radius)
    return _Shape(total > 1, along / total, np.clip(light / total, -1, 1))


def _waves(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, cycles: float) -> np.ndarray:
    """Smooth noise of variance 1: the sum of six plane waves, float32 [height, width]."""
    angle, phase, pace = rng.uniform((0, 0, 0.5), (np.pi, 2 * np.pi, 1.2), (6, 3)).T
    across = x.T * (2 * np.pi * cycles * pace * np.cos(angle)) + phase  # [width, 6]
    down = y * (2 * np.pi * cycles * pace * np.sin(angle))  # [height, 6]
    noise = np.sin(down) @ np.cos(across).T + np.cos(down) @ np.sin(across).T
    return (noise / np.sqrt(3)).astype(np.float32)


def _meadow(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, even: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Sky, a cloud, two rows of hills and grass: float32 [height, width, 3] in about [0, 1].

    Also returns their map, uint8 [height, width], indices into REGIONS. `even`: the same colours in
    all scenes.
    """
    lows = _rgb("5088c8 c0d4e4 688894 507858 7c9c44 346c20")
    highs = _rgb("78a8ea f0ece4 84a4ac 708c68 a4b45c 5c8830")
    colours = rng.uniform(lows, highs).astype(np.float32)
    zenith, haze, hill, near_hill, far, near = (lows + highs) / 2 if even else colours
    horizon = np.float32(rng.uniform(0.36, 0.56))
    cloud_x, cloud_y = rng.uniform((0.1, 0.06), (0.9, 0.26))
    cloud = np.zeros((y.size, x.size), dtype=np.float32)
    for dx, dy, r in rng.uniform((-0.14, -0.02, 0.05), (0.14, 0.02, 0.09), (5, 3)).tolist():
        square = ((x - cloud_x - dx) ** 2 + 3 * (y - cloud_y - dy) ** 2) / r**2
        cloud = np.maximum(cloud, np.clip(1.2 - square, 0, 0.8))
    sky = zenith + (haze - zenith) * np.clip(y / horizon, 0, 1)[..., None]
    picture = sky + cloud[..., None] * (1 - sky)
    regions = (cloud > 0.4).astype(np.uint8)
    for region, height, colour in ((2, 0.1, hill), (3, 0.05, near_hill)):
        ridge = 0.5 + 0.5 * np.sin(x * rng.uniform(3, 8) + rng.uniform(0, 2 * np.pi))
        picture[y > horizon - height * ridge] = colour
        regions[y > horizon - height * ridge] = region
    depth = np.clip((y - horizon) / (1 - horizon), 0, 1)
    tufts = 0.05 * _waves(rng, x, y * 2, 5) + 0.04 * _waves(rng, x * 2, y * 0.7, 9)
    grass = (far + (near - far) * depth[..., None]) * (1 + tufts * (0.4 + depth))[..., None]
    regions[y[:, 0] > horizon] = REGIONS.index("grass")
    return np.where(y[..., None] > horizon, grass, picture), regions


def _place(rng: np.random.Generator, parts: list[_Capsule]) -> tuple[np.ndarray, np.float32]:
    """Draw the body's origin and size: wholly inside the picture, the feet in the foreground."""
    discs = [(p.start, p.radius_start) for p in parts] + [(p.end, p.radius_end) for p in parts]
    low = np.min([centre - radius for centre, radius in discs], axis=0) - BLEND  # the union swells
    high = np.max([centre + radius for centre, radius in discs], axis=0) + BLEND
    scale = rng.uniform(0.88, 1) * FIT / np.max(high - low)
    corner = (1 - scale * (high - low)) * rng.uniform((0.32, 0.4), (0.68, 0.68))
    return (corner - scale * low).astype(np.float32), np.float32(scale)


def _stripes(shape: _Shape, wobble: np.ndarray) -> np.ndarray:
    """A zebra's coat, [height, width, 3]: stripes that grow thin on the shaded belly."""
    wave = np.sin(shape.along * np.float32(2 * np.pi / STRIPE_PERIOD) + wobble)
    return np.where((wave > 0.9 * np.clip(-shape.light - 0.35, 0, 1))[..., None], BLACK, WHITE)


def _draw(rng: np.random.Generator, meadow: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple:
    """The horse and the zebra, float32 [height, width, 3], and the map of their parts.

    The map, uint8 [height, width], has indices into REGIONS, and 0 outside the animal.
    """
    parts = _pose(rng)
    origin, scale = _place(rng, sum(parts, []))
    x, y = (x - origin[0]) / scale, (y - origin[1]) / scale
    sun = _point(rng.uniform(-0.45, 0.45), -0.9)
    coat, hair, socks = rng.choice(HORSES) * np.float32(rng.uniform(0.9, 1.1))
    plain = coat + (socks - coat) * np.clip((y - 0.17) / 0.1, 0, 1)[..., None]
    wobble = 0.45 * _waves(rng, x, y, 3)
    shadow = ((x + 0.02 - 0.1 * sun[0]) / 0.36) ** 2 + ((y - 0.43) / 0.05) ** 2
    horse = zebra = meadow * (1 - 0.4 * np.clip(1.3 - shadow, 0, 1))[..., None]
    far, far_hooves, tail, crest, body, dark, mane = (_blend(part, x, y, sun) for part in parts)
    with_mane = np.where(mane.inside[..., None], hair, plain)  # it falls over a horse's neck
    layers = [
        (far, plain * FAR, _stripes(far, wobble) * FAR),
        (far_hooves, BLACK, BLACK),
        (tail, hair, np.where((tail.along < 0.115)[..., None], WHITE, BLACK)),
        (crest, hair, _stripes(crest, wobble)),
        (body, with_mane, _stripes(body, wobble)),
        (dark, BLACK, BLACK),
    ]
    regions = np.zeros(far.inside.shape, dtype=np.uint8)
    for region, (shape, plain_coat, striped_coat) in enumerate(layers, REGIONS.index("far legs")):
        inside, light = shape.inside[..., None], (0.86 + 0.26 * shape.light)[..., None]
        horse = np.where(inside, plain_coat * light, horse)
        zebra = np.where(inside, striped_coat * light, zebra)
        regions[shape.inside] = region
    return horse, zebra, regions


def render_scene(seed: int, index: int, size_px: int) -> Scene:
    """Draw one scene as a horse and as a zebra: same body, pose, light and background.

    A pure function: the scene depends only on (`seed`, `index`) (ValueError if negative), the
    resolution on `size_px`. The pictures, uint8 [size_px, size_px, 3] in [0, 255], are equal bit
    for bit where `mask`, bool [size_px, size_px], is False; it is True wherever the animal is.
    """
    horse, zebra, parts, _ = render_samples(seed, index, size_px, even=False)
    mask = (parts > 0).reshape(size_px, SAMPLES, size_px, SAMPLES).any((1, 3))
    return Scene(horse, zebra, mask)


def render_samples(seed: int, index: int, size_px: int, even: bool) -> tuple[np.ndarray, ...]:
    """Horse, zebra (uint8 pixels), and for each sample the animal's part and the ground's region.

    `even`: the same colours of the ground and of the daylight in all scenes.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))
    steps = (np.arange(size_px * SAMPLES, dtype=np.float32) + 0.5) / (size_px * SAMPLES)
    x, y = steps[None, :], steps[:, None]  # open grids: what depends on one alone is cheap
    meadow, ground = _meadow(rng, x, y, even)
    daylight = rng.uniform(0.85, 1.04) * (1 + rng.uniform(-0.05, 0.05) * np.array([1, 0.2, -1]))
    x = 1 - x if rng.random() < 0.5 else x  # the animal faces left
    daylight = 1 if even else daylight
    *pictures, parts = _draw(rng, meadow, x, y)
    pixels = np.reshape(pictures, (2, size_px, SAMPLES, size_px, SAMPLES, 3)).mean((2, 4))
    horse, zebra = np.rint(np.clip(pixels * daylight, 0, 1) * 255).astype(np.uint8)
    return horse, zebra, parts, ground


def write_pocket(folder: Path, *, seed: int, size_px: int, train: int, test: int) -> None:
    """Write PNG files, each named by its scene's index, into five new folders in `folder`.

    trainA: horses of scenes 0 to train - 1; trainB: zebras of the `train` scenes after them, so
    no scene is in both. testA, testB, testMask: horses, true zebras and masks (8 bit, 0 or 255) of
    the `test` scenes after those. All or nothing. UserError if `folder` exists and is not empty.
    """
    with new_folder(folder, ("trainA", "trainB", "testA", "testB", "testMask")) as whole:
        for index in range(2 * train + test):
            horse, zebra, mask = render_scene(seed, index, size_px)
            pictures = {"trainA": horse} if index < train else {"trainB": zebra}
            if index >= 2 * train:
                pictures = {"testA": horse, "testB": zebra, "testMask": mask.astype(np.uint8) * 255}
            for kind, picture in pictures.items():
                Image.fromarray(picture).save(whole / kind / f"{index:06d}.png")


@contextmanager
def new_folder(folder: Path, kinds: Sequence[str]) -> Iterator[Path]:
    """Yield a hidden folder with these sub-folders, which is renamed to `folder` at the end.

    Raises `UserError` if `folder` exists and is not empty.
    """
    folder = folder.resolve()
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"`output` {folder}: exists and is not an empty folder; give another")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        whole = Path(scratch) / "whole"
        for kind in kinds:
            (whole / kind).mkdir(parents=True)
        yield whole
        whole.replace(folder)
