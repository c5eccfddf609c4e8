"""spavl train ppo: align a model by rewards for its own answers."""

import argparse

from spavl.cli.commands.train import add_train_options, run_training


def add_options(parser: argparse.ArgumentParser) -> None:
    add_train_options(parser, "ppo")


def run(options: argparse.Namespace) -> None:
    run_training("ppo", options)
