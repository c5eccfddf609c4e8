"""Other people's libraries, told to be quiet: their bars and hints would break ours."""

import logging
import os
import warnings


def silence_libraries() -> None:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # It tells on a machine without a GPU that it would be faster with one more package.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    # One library of theirs tells another what it should call.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
