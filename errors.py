"""The errors that end a command with one line; every package may raise them.

A room knows nothing of the command line: its messages name arguments in backticks, as `crop_size`.
`commands.cli.run` shows such a name as the option that it is, as --crop_size.
"""


class PairlessError(Exception):
    """An error that ends a command with one line on stderr and no traceback."""

    exit_code = 1
    prefix = "error: "


class UserError(PairlessError):
    """A mistake that the user can mend; the message names the option, its value and the remedy."""

    exit_code = 2
