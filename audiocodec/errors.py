"""The exceptions that a user is meant to read."""


class CodecError(Exception):
    """A mistake in the input, a file, a recipe or a request.

    The message is one line that names the file or the key and says what mends it; the command line
    prints it after ``error:`` and exits with a non-zero code, without a traceback.
    """


class NotFiniteError(CodecError):
    """Numbers that are infinite or none at all, where nothing can be done with them."""
