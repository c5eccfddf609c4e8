"""spavl miniature: build the miniature's checkpoint again."""

import argparse
from pathlib import Path

from spavl.cli.silence_libraries import quiet_libraries
from spavl.errors import MissingExtra, how_to_install
from spavl.terminal.progress import Screen
from spavl.text.safe_print import tell


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=0, help="the shipped checkpoint was made from 0 (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("runs/miniature"), help="folder of the new checkpoint")


def run(options: argparse.Namespace) -> None:
    quiet_libraries()
    try:
        from spavl.training.model.miniature import STEPS, build
    except ModuleNotFoundError as error:
        raise MissingExtra(f"building a checkpoint needs {error.name}", then=how_to_install("hf")) from None
    with Screen().bar("miniature", STEPS, unit="steps") as bar:
        for step in build(options.out, options.seed):
            bar.advance(f"loss {step.metrics['loss']:.3f}")
    tell(f"wrote the checkpoint to {options.out}; use it as hf/{options.out}")
