"""spavl train merge: an adapter and its base as one whole model."""

import argparse
import shlex
from pathlib import Path

from spavl.cli.silence_libraries import quiet_libraries
from spavl.models.remote_code import OPTION, WHO_IS_TRUSTED, names_typed
from spavl.text.safe_print import tell


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", type=Path, help="a run that trained with LoRA, or its adapter's folder")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the whole model is written")
    parser.add_argument(OPTION, default="", metavar="MODEL", help=WHO_IS_TRUSTED)


def run(options: argparse.Namespace) -> None:
    from spavl.training.model.pretrained import merge

    quiet_libraries()
    inside = options.run / "checkpoints" / "aligned"
    merge(inside if inside.exists() else options.run, options.out, names_typed(options.trust_remote_code))
    tell(f"merged into {options.out}; any server of transformers' models loads it")
    model = shlex.quote(f"hf/{options.out}")
    tell(f"next:  spavl eval {model} --suite safety --data FOLDER --guard MODEL --dry-run")
