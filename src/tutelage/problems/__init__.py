"""Problems with checkable answers: data sets in their published formats, and the built-in world `primer`."""

from tutelage.problems.formats import DATA_FORMATS
from tutelage.problems.inspection import Overlap, check_overlap, describe
from tutelage.problems.loading import load_problems, save_problems

__all__ = ["DATA_FORMATS", "Overlap", "check_overlap", "describe", "load_problems", "save_problems"]
