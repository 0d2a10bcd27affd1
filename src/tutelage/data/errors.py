"""What a person gave that cannot be used."""


class InputError(Exception):
    """One message: what was given (file, line), what was expected, what to do. The command line prints it, exits 2."""
