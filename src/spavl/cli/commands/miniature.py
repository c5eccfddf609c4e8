"""spavl miniature: build a checkpoint of the miniature again."""

import argparse

from spavl.cli.options import add_out, seed
from spavl.cli.parser import Command, CommandParser
from spavl.cli.silence_libraries import silence_libraries
from spavl.errors import MissingExtra, how_to_install
from spavl.miniature.checkpoints import CHECKPOINTS
from spavl.terminal.progress import Screen
from spavl.text.safe_print import tell


def _add_options(parser: CommandParser) -> None:
    parser.add_argument(
        "--family",
        choices=[shipped.family for shipped in CHECKPOINTS.values()],
        default=CHECKPOINTS["base"].family,
        help="the model family of transformers: llava is miniature/base, qwen2_vl is miniature/qwen (default: llava)",
    )
    parser.add_argument(
        "--seed", type=seed, default=0, metavar="NUMBER", help="the shipped checkpoints were made from 0 (default: 0)"
    )
    add_out(parser, "FOLDER", "folder of the new checkpoint", is_needed=True)


def _run(options: argparse.Namespace) -> None:
    silence_libraries()
    try:
        from spavl.training.model.miniature import SCHEDULES, build
    except ModuleNotFoundError as error:
        raise MissingExtra(f"building a checkpoint needs {error.name}", then=how_to_install("hf")) from None
    with Screen().bar("miniature", SCHEDULES[options.family].steps, unit="steps") as bar:
        for step in build(options.out, options.seed, options.family):
            bar.advance(f"loss {step.metrics['loss']:.3f}")
    tell(f"wrote the checkpoint to {options.out}; use it as {options.out}")


COMMANDS = (
    Command("miniature", "build a toy model's checkpoint again from a seed", _add_options, _run, "--out FOLDER"),
)
