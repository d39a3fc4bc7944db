"""Errors that end a command with a message of one line; every room may raise them.

A room knows nothing of the command line: its messages name arguments in backticks, as `crop_size`.
`commands.cli.run` prints such a name as the option, --crop_size.
"""


class PairlessError(Exception):
    """Ends a command; its message is printed on stderr in one line, without a traceback."""

    exit_code = 1
    prefix = "error: "


class UserError(PairlessError):
    """A mistake of the user; the message names the option, its value and the remedy."""

    exit_code = 2
