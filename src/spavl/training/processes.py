"""The processes of `accelerate launch`: all of them train, and the first one alone writes."""

import os
from datetime import timedelta
from typing import Any


def how_many() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def are_several() -> bool:
    return how_many() > 1


def is_first() -> bool:
    return int(os.environ.get("RANK", "0")) == 0


def new_accelerator(**settings: Any) -> Any:
    from accelerate import Accelerator  # loads torch, which whoever asks for the two above can do without
    from accelerate.utils import InitProcessGroupKwargs

    # What the first process does by itself, such as scoring the reference, may take hours.
    return Accelerator(kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(days=2))], **settings)


def wait_for_all() -> None:
    """Until every process has come here."""
    if are_several():
        new_accelerator().wait_for_everyone()
