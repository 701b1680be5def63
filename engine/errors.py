"""The one exception whose text a user reads."""


class MorphonyError(Exception):
    """Something a user must know: its text is one clear sentence, naming the file or setting it is about."""
