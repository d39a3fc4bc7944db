"""From the options of attack.py to a function of the room attacks/."""

import torch
from torch import Tensor

import attacks
from commands.attacking.options import AttackOptions, in_units


def search(
    options: AttackOptions,
    model: attacks.Model,
    pictures: Tensor,
    labels: Tensor,
    target: int | None,
    levels: float | None,
    random: torch.Generator,
) -> Tensor:
    """Return the attacked pictures of a batch; `levels`: the bound in grey levels."""
    steps, attack = options.steps, options.attack
    aims = labels if target is None else torch.full_like(labels, target)
    if attack == "one_pixel":
        return attacks.one_pixel(
            model,
            pictures,
            aims,
            pixels=options.pixels,
            generations=steps,
            population=options.population,
            targeted=target is not None,
            generator=random,
        )
    if attack == "deepfool":
        return attacks.deepfool(model, pictures, labels, steps=steps, norm=options.norm)
    epsilon, step = in_units(levels), in_units(options.step_of(levels))
    if attack == "fgsm":
        function = attacks.fgsm if target is None else attacks.targeted_fgsm
        return function(model, pictures, aims, epsilon=epsilon)
    if attack == "least_likely":
        return attacks.least_likely(model, pictures, epsilon=epsilon, step=step, steps=steps)
    if attack == "universal":
        change = attacks.universal_perturbation(
            model,
            pictures,
            epsilon=epsilon,
            steps=steps,
            norm=options.norm,
            batch_size=options.batch_size,
            generator=torch.Generator().manual_seed(options.seed),
        ).change
        return (pictures + change).clamp(-1, 1)
    if attack == "pgd":
        return attacks.pgd(
            model,
            pictures,
            aims,
            epsilon=epsilon,
            step=step,
            steps=steps,
            norm=options.norm,
            restarts=options.restarts,
            generator=random,
            targeted=target is not None,
        )
    function = {"iterative_fgsm": attacks.iterative_fgsm, "momentum": attacks.momentum}[attack]
    return function(model, pictures, labels, epsilon=epsilon, step=step, steps=steps)
