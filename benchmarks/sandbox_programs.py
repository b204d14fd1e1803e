"""200 honest programs as models write them: 40 shapes, each with five numbers; used by sandbox.py and its tests."""

from __future__ import annotations

SHAPES = (
    "print({a} * {b} + {c})",
    "answer = {a} / {b}\nprint(round(answer, 6))",
    "from fractions import Fraction\nprint(Fraction({a}, {b}) + Fraction(1, {c}))",
    "from decimal import Decimal, getcontext\ngetcontext().prec = 30\nprint(Decimal({a}) / Decimal({b}))",
    "import math\nprint(math.comb({c} + 10, {b}), math.gcd({a}, {c}), math.sqrt({a}))",
    "import itertools\nprint(sum(1 for p in itertools.permutations(range(6), 3) if sum(p) == {b}))",
    "from collections import Counter\nprint(Counter(str({a} ** {c})).most_common(3))",
    "print(sorted({{x * x % {a} for x in range({c} * 5)}}))",
    "print(len(str(2 ** ({a} * {c}))), pow({a}, {b}, 1000007))",
    "import statistics\ndata = [{a}, {b}, {c}, 7, 9]\nprint(statistics.mean(data), statistics.stdev(data))",
    "import random\nrandom.seed({a})\nprint([random.randint(1, 6) for _ in range({b})])",
    "import json\nprint(json.dumps({{'a': {a}, 'b': [{b}, {c}]}}, indent=1))",
    "import re\nprint(re.findall(r'\\d+', 'x{a}y{b}z{c}'))",
    "import datetime\nprint(datetime.date(2020, 1, 1) + datetime.timedelta(days={a} * {b}))",
    "from functools import lru_cache\n@lru_cache(None)\ndef f(n):\n    return n if n < 2 else f(n-1) + f(n-2)\n"
    "print(f({a} + {c}))",
    "p = [n for n in range(2, {a} * 10) if all(n % d for d in range(2, int(n**.5) + 1))]\nprint(p[-1], len(p))",
    "with open('n.txt', 'w') as f:\n    f.write('{a}\\n{b}\\n')\nprint(sum(map(int, open('n.txt'))))",
    "import tempfile\nwith tempfile.TemporaryFile('w+') as f:\n    f.write('{a}')\n    f.seek(0)\n    print(f.read())",
    "import bisect, heapq\nh = [{a}, {b}, {c}]\nheapq.heapify(h)\nprint(h[0], bisect.bisect([1, 5, 9], {b}))",
    "print(f'{{{a} / {b}:.4f}}', 'größer' if {a} > {b} else 'kleiner', '≈ π')",
    "import numpy as np\nprint(np.linalg.det(np.array([[{a}, {b}], [{c}, 1.0]])).round(6))",
    "import numpy as np\nprint(np.random.RandomState({a}).permutation({b} + 3))",
    "import numpy as np\nprint(np.linspace(0, {a}, {b} + 2).cumsum())",
    "import numpy as np\nrng = np.random.default_rng({a})\nprint(rng.normal(size=3).round(8))",
    "import numpy as np\nprint(np.roots([1, -{a}, {b}]), np.polyfit([0, 1, 2], [{a}, {b}, {c}], 2).round(6))",
    "import numpy as np\na = np.arange({b} * 4).reshape({b}, 4)\nprint(a.T @ a, a.mean(axis=0))",
    "import sympy as sp\nx = sp.symbols('x')\nprint(sp.solve(x**2 - {a}*x + {b}, x))",
    "import sympy as sp\nx, y = sp.symbols('x y')\nprint(sp.solve([x + y - {a}, {b}*x - y - {c}], [x, y]))",
    "import sympy as sp\nx = sp.symbols('x')\nprint(sp.integrate(x**{b} * sp.exp(x), x))",
    "import sympy as sp\nx = sp.symbols('x')\nprint(sp.diff(sp.sin({a}*x)**{b}, x), sp.limit(sp.sin({a}*x)/x, x, 0))",
    "import sympy as sp\nprint(sp.factorint({a} * {b} * 1001), sp.divisors({a} * {c}))",
    "import sympy as sp\nprint(sp.Matrix([[{a}, {b}], [{c}, 2]]).inv(), sp.Matrix([[2, 1], [1, {a}]]).eigenvals())",
    "import sympy as sp\nx = sp.symbols('x')\nprint(sp.expand((x + {a})**{b}), sp.factor(x**2 - {a}**2))",
    "import sympy as sp\nn = sp.symbols('n', integer=True, positive=True)\nprint(sp.summation(n**{b}, (n, 1, {a})))",
    "import sympy as sp\nprint(sp.sqrt({a} * {b}**2), sp.nsimplify('0.{a}'), sp.Rational({a}, {b}).evalf(20))",
    "from sympy import *\nx = symbols('x')\nprint(simplify((x**2 - {a}**2)/(x - {a})), latex(Rational({b}, {c})/x))",
    "import sympy as sp\nprint(sp.nextprime({a} * 1000), sp.binomial({a} + 5, {b}), sp.totient({c} * 12))",
    "from sympy.stats import Die, P, E\nX = Die('X', {a} + 2)\nprint(P(X > {b}), E(X))",
    "from sympy.combinatorics import Permutation\nprint(Permutation([1, 2, 0, 4, 3]).order() * {a})",
    "import sympy as sp\nx = sp.symbols('x')\nprint(sp.solveset(sp.sin(x) - sp.Rational(1, 2), x, sp.Interval(0, {a})))"
    "\nprint(sp.series(sp.exp({b}*x), x, 0, 4))",
)
NUMBERS = ((12, 5, 7), (30, 4, 9), (17, 3, 11), (8, 6, 13), (25, 2, 10))


def honest_programs() -> list[str]:
    """Every shape with every triple of numbers."""
    return [shape.format(a=a, b=b, c=c) for shape in SHAPES for a, b, c in NUMBERS]
