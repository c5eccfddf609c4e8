"""The URI of the rewarder of a policy's answers: a reward model, a judge or a guard."""

from typing import Annotated

from spavl.judges.registry import guard_uri
from spavl.models.uri import REWARD, checkpoint_of, of_settings


def rewarder_uri(name: str) -> str:
    """`reward/FOLDER`, `judge/NAME` or a guard; a run folder, also without `reward/`, names its reward model."""
    kind, _, rest = name.partition("/")
    if kind == "judge":
        return f"judge/{guard_uri(rest)}"
    if kind == REWARD:
        return f"{REWARD}/{checkpoint_of(rest, REWARD) or rest}"
    own = checkpoint_of(name, REWARD)
    return f"{REWARD}/{own}" if own else guard_uri(name)


RewarderName = Annotated[str, of_settings(rewarder_uri)]
