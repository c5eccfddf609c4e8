"""Runs the command as `python -m spavl`, and so under `accelerate launch -m spavl`."""

import sys

from spavl.cli.main import main

sys.exit(main())
