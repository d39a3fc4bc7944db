"""The picture of gaussian_mixture.py: data, samples, D, and the value of the game."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REACH = 3.0  # of the axes in the plane, both ways
DATA, SAMPLES, SCORE = "0.25", "tab:orange", "tab:blue"  # colours


class Outcome(NamedTuple):
    """What the picture shows."""

    data: Tensor  # [n, dimensions]
    samples: Tensor  # [n, dimensions]
    score: Callable[[Tensor], Tensor]  # D: points [n, dimensions] -> [n], in [0, 1]
    density: Callable[[Tensor], Tensor]  # of the data: points [n, dimensions] -> [n]
    values: Tensor  # V, [steps]


def draw(path: Path, picture_format: str, title: str, found: str, outcome: Outcome) -> None:
    """Write the picture: data, samples and D on the left, the value of the game on the right."""
    from matplotlib.figure import Figure  # nothing else in this repository needs matplotlib

    figure = Figure(figsize=(13, 5.6), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    draw_points = draw_line if outcome.data.shape[1] == 1 else draw_plane
    draw_points(left, outcome)
    left.set_title(found)
    draw_values(right, outcome.values)
    figure.suptitle(title)
    figure.savefig(path, format=picture_format)


def draw_plane(axes: "Axes", outcome: Outcome) -> None:
    """Draw 1,000 points of the data and 1,000 samples over D's values."""
    side = torch.linspace(-REACH, REACH, 200)
    grid = torch.cartesian_prod(side, side)  # [200 * 200, 2], the second coordinate varies fastest
    shown = axes.imshow(
        outcome.score(grid).view(200, 200).T.numpy(),
        extent=(-REACH, REACH, -REACH, REACH),
        origin="lower",
        cmap="RdBu",
        vmin=0,
        vmax=1,
        alpha=0.7,
    )
    axes.figure.colorbar(shown, ax=axes, label="$D(x)$: 1 real, 0 fake", shrink=0.85)
    clouds = (("data", outcome.data, DATA), ("samples", outcome.samples, SAMPLES))
    for name, cloud, colour in clouds:
        axes.scatter(*cloud[:1000].T.numpy(), s=7, c=colour, alpha=0.6, linewidths=0, label=name)
    axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), xlabel="$x_1$", ylabel="$x_2$")
    axes.legend(loc="upper right", markerscale=3)


def draw_line(axes: "Axes", outcome: Outcome) -> None:
    """Draw the density of the data, a histogram of the samples, D, and D* for these samples.

    D* = p_data / (p_data + p_g), with p_g from the histogram; only where either has points.
    """
    bins, reach = 120, math.ceil(outcome.data.abs().max().item())
    edges = torch.linspace(-reach, reach, bins + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    counts = torch.histogram(outcome.samples[:, 0], edges).hist
    p_samples = counts / len(outcome.samples) / (2 * reach / bins)
    p_data = outcome.density(middles[:, None])
    best = torch.where(p_data + p_samples > 0.01, p_data / (p_data + p_samples), math.nan)
    at = torch.linspace(-reach, reach, 1001)

    p_data_at, score_at = outcome.density(at[:, None]), outcome.score(at[:, None])
    axes.fill_between(at.numpy(), p_data_at.numpy(), color=DATA, alpha=0.3, label="data")
    axes.stairs(
        p_samples.numpy(), edges.numpy(), fill=True, color=SAMPLES, alpha=0.55, label="samples"
    )
    axes.set(xlim=(-reach, reach), xlabel="$x$", ylabel="density")
    axes.set_ylim(
        0, 1.45 * max(p_samples.max().item(), p_data_at.max().item())
    )  # room for the legend
    right = axes.twinx()
    right.plot(at.numpy(), score_at.numpy(), color=SCORE, linewidth=2, label="$D$")
    label = "$D^* = p_{data} / (p_{data} + p_g)$, estimated"
    style = {"color": "0.1", "linewidth": 0.8, "markersize": 4}
    right.plot(middles.numpy(), best.numpy(), ".-", label=label, **style)
    right.axhline(0.5, color="0.5", linewidth=0.8, linestyle=":")
    right.set(ylim=(0, 1.3), ylabel="$D(x)$", yticks=(0, 0.25, 0.5, 0.75, 1))
    labels = zip(axes.get_legend_handles_labels(), right.get_legend_handles_labels(), strict=True)
    axes.legend(*(first + second for first, second in labels), loc="upper center", ncols=2)


def draw_values(axes: "Axes", values: Tensor) -> None:
    """Draw V at each step, and its mean over windows of 1 % of the steps."""
    window = max(1, len(values) // 100)
    means = values[: len(values) // window * window].view(-1, window).mean(1)
    centres = window * (torch.arange(len(means)) + 0.5)
    axes.plot(values.numpy(), color=SCORE, alpha=0.25, linewidth=0.5, label="$V$ of each step")
    axes.plot(
        centres.numpy(), means.numpy(), color=SCORE, linewidth=2, label="mean over 1 % of the steps"
    )
    axes.axhline(0, color="0.2", linestyle=":", label="0: $D$ is always right")
    axes.axhline(-math.log(4), color="0.2", linestyle="--", label="$-\\log 4$: $D$ is at chance")
    bottom = min(-1.65, means.min().item() - 0.1)
    axes.set(xlim=(0, len(values)), ylim=(bottom, 0.08), xlabel="step", ylabel="$V$")
    axes.set_title("value of the game, $V = E\\,\\log D(x) + E\\,\\log(1 - D(G(z)))$")
    axes.legend(loc="upper right", bbox_to_anchor=(1, 0.93))
