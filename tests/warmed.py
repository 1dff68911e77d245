"""What a rank imports, for the process that the ranks of tests/ranks.py are forked from."""

import os

os.environ.setdefault("DS_ACCELERATOR", "cpu")

from training import __main__, run, train  # noqa: F401
from training.engine import engine

with engine._quiet():
    engine._deepspeed()
