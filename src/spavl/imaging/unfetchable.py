"""The reasons why a candidate's bytes cannot be read."""


class Unfetchable(Exception):
    """The message is the reject reason. What may pass, such as a time-out, is worth asking again."""

    def __init__(self, reason: str, *, passing: bool = False, wait: float | None = None) -> None:
        super().__init__(reason)
        self.passing = passing
        # How long the server asked to be left alone.
        self.wait = wait
