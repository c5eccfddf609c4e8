"""The errors a person can meet. Each says what was wrong, where, and what to type next.

Exit code 2 is for what its reader can put right (a key, a file, a server, a disk);
exit code 1 is for faults of spavl itself.
"""


class SpavlError(Exception):
    """An error with a message meant for people."""

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", then: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.then = what, where, then

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.then:
            lines.append(f"  next:  {self.then}")
        return "\n".join(lines)


class ConfigError(SpavlError):
    """A setting is unknown, missing or of the wrong type."""


class StoreError(SpavlError):
    """A run folder cannot be read or written."""


class MissingExtra(SpavlError):
    """A feature needs packages that are not installed."""


class BudgetError(SpavlError):
    """The next call could pass the spend stop, so it was not made."""


class ProviderError(SpavlError):
    """A model's server is not there or is no such server; no call to it can succeed."""


class TrainingError(SpavlError):
    """Training was refused or stopped because its numbers cannot be trusted."""


class GateError(SpavlError):
    """A result is not fit to be reported, such as too many verdicts that could not be read."""


class InternalError(SpavlError):
    """A fault of spavl: something that was thought impossible."""

    exit_code = 1
