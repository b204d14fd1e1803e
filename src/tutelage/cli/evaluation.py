"""The work of `tutelage eval`: sample and grade under each strategy in a run folder that `compare` can read."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from tutelage.cli.backends import MAY_DIFFER, Parts, Splits, assemble_with
from tutelage.cli.progress import open_progress
from tutelage.cli.run import choose_folder, explain
from tutelage.cli.tables import outcome_words, percent, result_console, show_accuracy, time_sentence
from tutelage.config.settings import ModelSettings, SamplerSettings, setting
from tutelage.config.writing import resolved
from tutelage.evaluation.strategies import parse_strategy
from tutelage.problems import load_problems
from tutelage.recipes import stages
from tutelage.recipes.bench import Bench
from tutelage.recipes.progress import Progress
from tutelage.records import Completion, SamplingParams, Verdict
from tutelage.store.run import Run

RECIPE = "eval"
