"""The error for bytes of a candidate that cannot be read."""


class Unfetchable(Exception):
    """The message is the reject reason. If `passing`, such as after a time-out, a retry may succeed."""

    def __init__(self, reason: str, *, passing: bool = False, wait: float | None = None) -> None:
        super().__init__(reason)
        self.passing = passing
        # The seconds that the server asked the client to wait, if it did.
        self.wait = wait
