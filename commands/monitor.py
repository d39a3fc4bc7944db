"""Evaluation during training; keeps the best networks."""

import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import metrics
import training
from commands import cli, evaluation, pictures
from errors import UserError


class RunMonitor:
    """Evaluates the generators of a run on test pictures, and keeps the best ones.

    tests: file name of a generator in the run folder -> function of the images seen that returns
    its outputs, and the real pictures. exports: the same names -> function of (path, images seen)
    that writes the network.
    """

    def __init__(
        self,
        evaluator: evaluation.Evaluator,
        run: training.RunFolder,
        tests: Mapping[str, tuple[Callable[[int], pictures.Pictures], pictures.Pictures]],
        exports: Mapping[str, Callable[[Path, int], object]],
    ):
        """Check that there are enough pictures; collect the reals, once for the whole run."""
        self.evaluator, self.run, self.tests, self.exports = evaluator, run, tests, exports
        self.decisive = metrics.headline(evaluator.measures)
        for fake, real in tests.values():
            evaluator.check(real, fake(0))
        self.reals = {
            name: evaluator.collect(real, evaluation.kept_features(real, fake(0))[0])
            for name, (fake, real) in tests.items()
        }

    def __call__(self, images_seen: int) -> dict[str, object]:
        """Evaluate all generators; return the numbers in the writing process, {} in others.

        A set that a metric cannot use is reported and skipped: it should not end the training.
        """
        numbers: dict[str, object] = {}
        for name, (fake, real) in self.tests.items():
            part = name.removeprefix("generator").removesuffix(".safetensors")
            try:
                found = self._measured(name, fake(images_seen), real)
            except UserError as error:
                if self.evaluator.processes.world_size > 1:
                    raise  # the others may not have failed and would wait for this one
                reason = cli.named_as_options(str(error))
                print(f"not evaluated at {images_seen} images: {reason}", file=sys.stderr)
                continue
            found = {f"{key}{part}": value for key, value in found.items()}
            if found:
                self._keep_best(name, part, found, images_seen)
            numbers |= found
        return numbers

    def _measured(
        self, name: str, fake: pictures.Pictures, real: pictures.Pictures
    ) -> dict[str, object]:
        """Return one generator's numbers and their origin; {} in other processes."""
        paired = self.evaluator.measures.needs(*metrics.OF_PAIRS)
        found = self.evaluator.collect(
            fake,
            evaluation.kept_features(real, fake)[1],
            is_fake=True,
            partners=real if paired else None,
        )
        if not self.evaluator.processes.writes:
            return {}
        numbers = metrics.compare(self.reals[name], found, self.evaluator.measures)
        plain = {
            key: value
            for key, value in numbers.items()
            if isinstance(value, float) and math.isfinite(value)
        }
        origin = {key: value for key, value in self.evaluator.origin._asdict().items() if value}
        return {**plain, **origin, "n_real": self.reals[name].count, "n_fake": found.count}

    def _keep_best(
        self, name: str, part: str, found: Mapping[str, object], images_seen: int
    ) -> None:
        """Export the network if it is the best so far; called before its line is logged.

        Compared only with numbers of the same protocol, layer, weights and number of pictures.
        """
        decisive = self.decisive + part
        if decisive not in found:
            return
        lines = training.log_lines(self.run.metrics) if self.run.metrics.exists() else []
        made = [f"{key}{part}" for key in (*metrics.Origin._fields, "n_real", "n_fake")]
        earlier = [
            line[decisive]
            for line in lines
            if decisive in line and all(line.get(key) == found.get(key) for key in made)
        ]
        if all(metrics.is_better(self.decisive, found[decisive], old) for old in earlier):
            target = self.run.folder / name.replace("generator", "best")
            training.write_atomically(target, lambda path: self.exports[name](path, images_seen))
