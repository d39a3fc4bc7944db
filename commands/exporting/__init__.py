"""For export.py: networks as programs for other software, their files, the comparison."""

from commands.exporting.files import ENDINGS, OPSET, check_packages, open_program, write_program
from commands.exporting.official import official_options
from commands.exporting.parity import Comparison, compare, table
from commands.exporting.programs import Program
from commands.exporting.samplers import sampler_program
from commands.exporting.translators import translator_program

__all__ = [
    "ENDINGS",
    "OPSET",
    "Comparison",
    "Program",
    "check_packages",
    "compare",
    "official_options",
    "open_program",
    "sampler_program",
    "table",
    "translator_program",
    "write_program",
]
