"""Train a small GAN on a mixture of Gaussians, and draw a picture of the result.

In 2-D the Gaussians are on a ring, in 1-D on a line, where --modes 3 is a good start. The preset
`r3gan` (relativistic, R1 and R2) covers all eight modes of the ring; `vanilla` (the GAN of 2014)
often loses some. Takes about half a minute on one core.
"""

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the packages are one folder above

import torch
from torch import Tensor, nn

import losses
import training
from commands import cli
from commands.options import check_ranges
from errors import PairlessError, UserError
from examples import mixture_drawing

CPU = torch.device("cpu")
LATENT = 8
EVALUATED = 2000  # samples for counting the modes
LOG_4 = math.log(4)
PRESETS = {
    # Huang et al. 2024.
    "r3gan": {"objective": "relativistic", "r1": 0.1, "r2": 0.1},
    # Goodfellow et al. 2014, the generator's second loss.
    "vanilla": {"objective": "non_saturating", "r1": 0.0, "r2": 0.0},
}


@dataclass(frozen=True)
class Options:
    """Every option of this command."""

    output: Path = Path("mixture.png")
    """Picture to write: .png, .pdf or .svg."""
    preset: Literal["r3gan", "vanilla"] = "r3gan"
    """Defaults of --objective, --r1 and --r2."""
    objective: Literal["minimax", "non_saturating", "lsgan", "hinge", "wgan", "relativistic"] = (
        "relativistic"
    )
    """The two players' losses."""
    r1: float = 0.1
    """Weight of the penalty on D's gradient at the data, annealed to a tenth. 0: none."""
    r2: float = 0.1
    """The same at the samples."""
    dimensions: Literal[1, 2] = 2
    """1: Gaussians on a line, with the best possible D; 2: on a ring."""
    modes: int = 8
    """Gaussians in the mixture."""
    steps: int = 4000
    """Updates of each player."""
    batch_size: int = 256
    """Points per step."""
    learning_rate: float = 1e-3
    """Adam's step size for both players, annealed to a tenth."""
    seed: int = 0
    """Seed of everything random."""


class Mixture:
    """Gaussians of equal width and weight, on a ring of radius 2, or 1 apart on a line."""

    def __init__(self, dimensions: int, modes: int):
        places = torch.arange(modes)
        self.deviation = min(0.1, 1 / modes) if dimensions == 2 else 0.1
        if dimensions == 2:
            angles = 2 * math.pi * places / modes
            self.centres = 2 * torch.stack([angles.cos(), angles.sin()], 1)  # [modes, 2]
        else:
            self.centres = (places - (modes - 1) / 2)[:, None]  # [modes, 1]

    def sample(self, count: int, random: torch.Generator) -> Tensor:
        """Return points [count, dimensions]."""
        chosen = torch.randint(len(self.centres), (count,), generator=random)
        noise = torch.randn(count, self.centres.shape[1], generator=random)
        return self.centres[chosen] + self.deviation * noise

    def density(self, points: Tensor) -> Tensor:
        """Return the probability density [n] at points [n, dimensions]."""
        distances = torch.cdist(points, self.centres) / self.deviation
        peak = (self.deviation * math.sqrt(2 * math.pi)) ** -points.shape[1]
        return peak * (-distances.square() / 2).exp().mean(1)

    def covered(self, samples: Tensor) -> tuple[int, float]:
        """Return how many modes the samples [n, dimensions] cover, and the fraction near any mode.

        A sample is near its nearest mode if it is within 3 standard deviations of the centre. A
        mode is covered if at least 1/4 of the expected number of samples, n / modes, are near it.
        """
        distances, nearest = torch.cdist(samples, self.centres).min(1)
        near = distances <= 3 * self.deviation
        counts = torch.bincount(nearest[near], minlength=len(self.centres))
        enough = len(samples) / len(self.centres) / 4
        return int((counts >= enough).sum()), near.float().mean().item()


class Game(NamedTuple):
    """The result of a training: both players, and V at each step."""

    generator: nn.Module
    discriminator: nn.Module
    values: Tensor  # [steps]


def small_network(inputs: int, outputs: int, random: torch.Generator) -> nn.Sequential:
    """Return an MLP with three hidden layers of 64; random biases spread the kinks over space."""
    sizes = (inputs, 64, 64, 64, outputs)
    layers: list[nn.Module] = []
    for before, after in zip(sizes, sizes[1:], strict=False):
        layer = nn.utils.skip_init(nn.Linear, before, after)  # leaves the global generator alone
        nn.init.kaiming_normal_(layer.weight, generator=random)
        nn.init.normal_(layer.bias, generator=random)
        layers += [layer, nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


def play(options: Options, mixture: Mixture, random: torch.Generator) -> Game:
    """Train both players, one update each in turn.

    The learning rate and the penalties are annealed to a tenth by a cosine (Huang et al. 2024).
    """
    objective = losses.OBJECTIVES[options.objective]
    generator = small_network(LATENT, options.dimensions, random)
    discriminator = small_network(options.dimensions, 1, random)
    betas = (0.0, 0.99)
    generator_adam = training.adam(generator, options.learning_rate, betas)
    discriminator_adam = training.adam(discriminator, options.learning_rate, betas)
    values = torch.zeros(options.steps)

    def fakes() -> Tensor:
        return generator(torch.randn(options.batch_size, LATENT, generator=random))

    for step in range(options.steps):
        fall = training.anneal(step, 1.0, 0.1, over_images=options.steps, shape="cosine")
        for optimizer in (generator_adam, discriminator_adam):
            training.set_learning_rate(optimizer, fall * options.learning_rate)

        # The discriminator.
        real = mixture.sample(options.batch_size, random).requires_grad_()
        fake = fakes().detach().requires_grad_()
        real_logits, fake_logits = discriminator(real), discriminator(fake)
        total = objective.discriminator(real_logits, fake_logits)
        if options.r1:
            total = total + fall * options.r1 * losses.r1_penalty(real, real_logits)
        if options.r2:
            total = total + fall * options.r2 * losses.r1_penalty(fake, fake_logits)
        total.backward()
        training.optimizer_step(discriminator, discriminator_adam)
        values[step] = value_of(real_logits, fake_logits, objective.boundary)

        # The generator.
        with training.frozen(discriminator):
            real_logits = discriminator(real.detach()) if objective.compares else None
            objective.generator(discriminator(fakes()), real_logits).backward()
        training.optimizer_step(generator, generator_adam)
    return Game(generator, discriminator, values)


def limit_of(real_logits: Tensor, fake_logits: Tensor, boundary: float | None) -> Tensor:
    """Return the logit at which D = 1/2: `boundary`, or the midpoint of the two mean logits."""
    middle = (real_logits.mean() + fake_logits.mean()) / 2
    return middle if boundary is None else torch.full_like(middle, boundary)


def value_of(real_logits: Tensor, fake_logits: Tensor, boundary: float | None) -> Tensor:
    """Return V, with D = sigmoid(logit - limit), detached."""
    limit = limit_of(real_logits, fake_logits, boundary)
    return losses.game_value(real_logits - limit, fake_logits - limit).detach()


@torch.no_grad()
def evaluate(
    options: Options, mixture: Mixture, game: Game, random: torch.Generator
) -> tuple[mixture_drawing.Outcome, dict]:
    """Return what is to be drawn, and the numbers, on fresh data and samples.

    Raises PairlessError if the game diverged.
    """
    boundary = losses.OBJECTIVES[options.objective].boundary
    data = mixture.sample(EVALUATED, random)
    samples = game.generator(torch.randn(EVALUATED, LATENT, generator=random))
    logits = game.discriminator(data), game.discriminator(samples)
    value, limit = value_of(*logits, boundary), limit_of(*logits, boundary)
    if not torch.isfinite(torch.stack([*game.values, value])).all():
        raise PairlessError(
            f"--objective {options.objective}: the game diverged; give --r1 and --r2 above "
            f"{options.r1} and {options.r2}, or a lower --learning_rate"
        )

    def score(points: Tensor) -> Tensor:
        return torch.sigmoid(game.discriminator(points) - limit).squeeze(1).detach()

    covered, near = mixture.covered(samples)
    numbers = {
        "modes": options.modes,
        "modes_covered": covered,
        "share_near_a_mode": near,
        "value": value.item(),
        "implied_jensen_shannon": losses.implied_jensen_shannon(value).item(),
    }
    return mixture_drawing.Outcome(data, samples, score, mixture.density, game.values), numbers


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, count the modes, draw."""
    options = cli.parse(Options, arguments, PRESETS)
    check(options)
    torch.set_num_threads(1)  # the networks are too small for more
    mixture = Mixture(options.dimensions, options.modes)
    random = training.generator_for(CPU, options.seed, 0, "gaussian mixture")
    game = play(options, mixture, random)
    outcome, numbers = evaluate(options, mixture, game, random)
    found = f"{numbers['modes_covered']} of {options.modes} modes covered"
    name = options.objective.replace("_", "-")
    penalties = (
        f"R1 {options.r1:g}, R2 {options.r2:g}" if options.r1 or options.r2 else "no penalty"
    )
    title = f"{name}, {penalties}, seed {options.seed}, {options.steps} steps"
    picture_format = options.output.suffix[1:].lower()
    training.write_output(
        options.output,
        "--output",
        lambda path: mixture_drawing.draw(path, picture_format, title, found, outcome),
    )
    print(f"{found}; {numbers['share_near_a_mode']:.1%} of the samples are near one")
    print(
        f"value of the game: {numbers['value']:.3f}, where D is at chance -log 4 = {-LOG_4:.3f}; "
        f"implied Jensen-Shannon divergence, a lower bound: "
        f"{numbers['implied_jensen_shannon']:.3f} nats of at most log 2 = {LOG_4 / 2:.3f}"
    )
    print(json.dumps(numbers))


def check(options: Options) -> None:
    """Raise UserError for options that cannot work, before any time is spent."""
    check_ranges(
        options,
        above_zero=("modes", "steps", "batch_size", "learning_rate"),
        at_least_zero=("r1", "r2", "seed"),
    )
    if options.output.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise UserError(f"--output {options.output}: end it with .png, .pdf or .svg")
    if find_spec("matplotlib") is None:
        raise UserError(f"--output {options.output}: drawn by matplotlib; pip install matplotlib")


if __name__ == "__main__":
    cli.run(main)
