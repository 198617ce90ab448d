"""`nnrun help`."""

from __future__ import annotations

import json

import pytest

from nnrun.cli import main
from nnrun.cli.app import COMMANDS
from tests.support.small_experiments import compare_screen

