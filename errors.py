"""The one exception that every room may raise."""


class UserError(Exception):
    """A mistake that the user can mend.

    The message is one line that names the option, its value and the remedy. The commands print it
    on stderr and end with exit code 2; every other exception is a bug of ours and ends with 1.
    """
