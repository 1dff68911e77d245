"""What a rank imports, for the process that the ranks of tests/ranks.py are forked from."""

import os

os.environ.setdefault("DS_ACCELERATOR", "cpu")

from training import __main__, run, train  # noqa: E402, F401
from training.engine import engine  # noqa: E402

with engine._quiet():
    engine._deepspeed()
