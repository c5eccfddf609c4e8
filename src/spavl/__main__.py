"""python -m spavl, and so accelerate launch -m spavl."""

import sys

from spavl.cli import main

sys.exit(main())
