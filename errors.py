"""The ends of a command that are told in one line; every room may raise them.

A room knows nothing of the command line: its messages name arguments in backticks, as `crop_size`.
`commands.cli.run` shows such a name as the option that it is, as --crop_size.
"""


class PairlessError(Exception):
    """Something that ends a command, told in one line on stderr without a traceback."""

    exit_code = 1
    prefix = "error: "


class UserError(PairlessError):
    """A mistake that the user can mend; the message names the option, its value and the remedy."""

    exit_code = 2
