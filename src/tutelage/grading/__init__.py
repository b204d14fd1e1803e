r"""Grading: is the answer of a completion equal to the gold answer? Never evaluates model text, never guesses.

The rules that the checker keeps, by number (code and tests refer to them):

1. Exact against exact: a decimal equals a fraction only if it is equal; a rounded one is wrong without a tolerance.
2. 45% equals 45 and 0.45 where one side has the sign; a bare 45 is not a bare 0.45.
3. A unit or currency that one side leaves out is fine; two different ones are wrong; nothing is converted.
4. `1,234` is a number, and so are `1{,}234` and its like; any other comma makes a list. There is no decimal comma.
5. Tuples, points, matrices and intervals are ordered; lists and sets are not; a tuple is neither a set nor a list.
6. Plus-minus stands for both values; one of them is wrong. `or` and `and` make a list.
7. `4\frac{3}{5}` is 23/5, and a minus before it covers the whole.
8. `x = 5` equals 5 but not `y = 5`; an equation counts as its right side only if its left side is one symbol; two
   equations are equal up to a non-zero constant factor.
9. An inequality of one variable is its interval, both ways. The checker is symmetric.
10. Multiple choice: the option's letter, alone or with its text; two letters are wrong.
11. Text: case, articles and the final stop do not count; whole texts, never parts. Number words to twenty are numbers.
12. A base subscript is part of the value; ratios are reduced; times of day are compared as written.
13. Closed forms need not be simplified: `2^{10}` is 1024.
14. Extraction: see `tutelage.text.extraction`.
"""

from tutelage.grading.checker import Check, check, parse_gold
from tutelage.grading.exact import ExactGrader
from tutelage.grading.grader import CompletionGrader, tally
from tutelage.grading.tiered import Grader, grade, grade_many, grade_many_async
from tutelage.grading.user import UserGrader, load_grader
from tutelage.text.extraction import extract

__all__ = [
    "Check",
    "CompletionGrader",
    "ExactGrader",
    "Grader",
    "UserGrader",
    "check",
    "extract",
    "grade",
    "grade_many",
    "grade_many_async",
    "load_grader",
    "parse_gold",
    "tally",
]
