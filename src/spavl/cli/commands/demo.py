"""spavl demo: run the pipeline of the settings that ship, on the miniature."""

import argparse

from spavl.cli.commands.build import add_road_options, run_road
from spavl.pipeline.settings import DEMO, demo_table


def add_options(parser: argparse.ArgumentParser) -> None:
    how = "dpo, or ppo on the rewards of a model trained first"
    parser.add_argument("--algorithm", choices=("dpo", "ppo"), default="dpo", help=f"how the model is aligned: {how}")
    add_road_options(parser)


def run(options: argparse.Namespace) -> None:
    run_road(
        demo_table(options.algorithm), DEMO if options.algorithm == "dpo" else f"{DEMO}-{options.algorithm}", options
    )
