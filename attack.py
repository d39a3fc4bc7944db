"""Fool a network by small changes of its pictures, and measure how small they can be.

A classifier: how many pictures it still recognises within each bound. A translator: how far its
output can be moved, or how much of a CycleGAN rests on an invisible code. A GAN: how far a fake
must change until the discriminator takes it for real. The last line of stdout is a JSON object.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import training
from commands import cli
from commands.attacking import options as attack_options
from commands.attacking.classifying import attack_classifier
from commands.attacking.discriminating import attack_discriminator
from commands.attacking.hidden import measure_hidden
from commands.attacking.targets import Classifier, Cycle, Translator, open_target
from commands.attacking.translating import attack_translator


@dataclass(frozen=True)
class Options(attack_options.AttackOptions):
    """Every option of this command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read what is attacked, attack it, and report."""
    options = cli.parse(Options, arguments)
    attack_options.check(options)
    device = training.choose_device(options.device, training.Processes())
    target = open_target(options, device)
    if isinstance(target, Classifier):
        result = attack_classifier(options, target, device)
    elif isinstance(target, Translator):
        result = attack_translator(options, target, device)
    elif isinstance(target, Cycle):
        result = measure_hidden(options, target, device)
    else:
        result = attack_discriminator(options, target, device)
    result |= {"seed": options.seed, "versions": cli.versions()}
    print(f"sheet: {options.output / 'sheet.png'}", file=sys.stderr)
    cli.report_json(result, options.json)


if __name__ == "__main__":
    cli.run(main)
