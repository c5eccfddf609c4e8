"""Other people's libraries, told to be quiet: their bars and hints would break ours."""

import os
import warnings


def quiet_libraries() -> None:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # One library of theirs tells another what it should call.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
