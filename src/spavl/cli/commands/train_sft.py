"""spavl train sft: align a model on the chosen answers of a data set."""

import argparse

from spavl.cli.commands.train import add_train_options, run_training


def add_options(parser: argparse.ArgumentParser) -> None:
    add_train_options(parser, "sft")


def run(options: argparse.Namespace) -> None:
    run_training("sft", options)
