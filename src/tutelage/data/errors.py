"""What a person gave that cannot be used."""


class InputError(Exception):
    """One message: what was given (file, line), what was expected, what to do. The command line prints it, exits 2."""


class Unusable(Exception):
    """Why a row that is understood holds nothing to learn from: it is dropped and counted, and reading goes on.

    The message continues "rows": "with an empty reply", "whose last turn is not the assistant's".
    """
