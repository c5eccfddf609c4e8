"""python -m spavl, and so accelerate launch -m spavl."""

import sys

from spavl.cli.main import main

sys.exit(main())
