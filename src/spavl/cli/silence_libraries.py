"""Silences libraries: their progress bars and hints would break spavl's own output."""

import logging
import os
import warnings


def silence_libraries() -> None:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # On a machine without a GPU it logs that it would be faster with one more package.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    # These are about calls from one library to another, which the user cannot change.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    # About a file that the user did not write; its transparent points take the colour that is stored for them.
    warnings.filterwarnings("ignore", message="Palette images with Transparency")
