"""Grading: is the answer of a completion equal to the gold answer? Never evaluates model text, never guesses."""

from tutelage.grading.checker import Check, check
from tutelage.grading.exact import ExactGrader
from tutelage.grading.user import UserGrader, load_grader
from tutelage.grading.verdicts import Grader, tally

__all__ = ["Check", "ExactGrader", "Grader", "UserGrader", "check", "load_grader", "tally"]
