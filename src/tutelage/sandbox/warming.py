"""What a zygote does with the libraries that it has loaded, so that no child has to do it for the first time.

sympy imports modules and fills tables when a function is first called, which costs up to 100 ms; the statements below
call what programs for school and competition mathematics call most. Numbers differ from those in our benchmarks.
"""

from __future__ import annotations

import contextlib
import importlib

NUMPY = """
import numpy.fft, numpy.linalg, numpy.polynomial, numpy.random
numpy.linalg.solve([[2.0, 1.0], [1.0, 3.0]], [3.0, 4.0])
str(numpy.roots([1, -7, 10]).round(3)), str(numpy.linspace(0, 1, 3).cumsum()), str(numpy.arange(4).reshape(2, 2).T)
"""
SYMPY = """
from sympy import *
x, y, n = symbols("x y n")
p = symbols("p", positive=True)
k = symbols("k", integer=True)
solve(x**2 - 5*x + 6, x), solve(x**2 - 3*x - 7, x), solve(x**3 - 6*x**2 + 11*x - 6, x), solve(Eq(2*x + 3, 9), x)
solve([x + y - 3, x - y - 1], [x, y]), solve([x + y - 5, x*y - 6], [x, y]), solve(2*pi*p**2 - 18*pi, p)
solve(sqrt(x + 1) - 3, x), solve(2**x - 8, x), solveset(x**2 - 4, x, S.Reals), solve(x**2 - 4 > 0, x)
simplify((x**2 - 4)/(x - 2)), simplify(sin(x)**2 + cos(x)**2), simplify(sqrt(12) + sqrt(27)), radsimp(1/(1 + sqrt(2)))
expand((x + 1)**4), expand((x + y)**2), factor(x**2 - 9), factor(x**3 + 27), cancel((x**2 - 1)/(x - 1))
together(1/x + 1/y), apart(1/(x*(x + 1)), x), collect(x*y + x, x)
diff(cos(3*x)*x**3, x), diff(exp(x)/x, x), integrate(x**2 + 5*x, x), integrate(4*x**3 + x, (x, 0, 2))
integrate(sin(x), (x, 0, pi)), integrate(exp(x)*x, x), limit(sin(x)/x, x, 0), series(cos(x), x, 0, 4)
summation(k**2, (k, 1, n)), Sum(k, (k, 1, 10)).doit(), Product(k, (k, 1, 5)).doit()
m = Matrix([[1, 2], [3, 5]])
m.inv(), m.det(), m.T * m, m.rref(), m.eigenvals(), m * Matrix([1, 2])
factorint(5040), nextprime(500), isprime(97), divisors(60), gcd(48, 36), lcm(4, 6), binomial(10, 3)
factorial(6), totient(12)
mod_inverse(3, 11), primerange(1, 20), gcd(x**2 - 1, x - 1), Poly(x**2 - 2, x).all_roots(), roots(x**2 + 1, x)
sqrt(18) * Rational(2, 3), Rational(3, 7) + Rational(1, 2), nsimplify("0.75"), N(sqrt(2), 15), (1 + I)**2, Abs(3 + 4*I)
floor(Rational(7, 2)), ceiling(log(100, 10)), log(8, 2), cos(pi/6), atan(1), Max(1, 2), Piecewise((x, x > 0), (0, True))
nsolve(x**2 - 3, 2), sympify("3/4 + x"), latex(sqrt(x)/2), str(x**2/3), pretty(x/2), lambdify(x, x**2)(3)
(x**2 + y).subs({x: 2, y: 1}), ((x + 1)**2).subs(x, 3).evalf(), Interval(0, 2).intersect(Interval(1, 3))
"""
STATEMENTS = {"numpy": NUMPY, "sympy": SYMPY}


def load(name: str) -> None:
    """Import a module, and use it where it has something to warm; nothing where it is not installed."""
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
        for statement in STATEMENTS.get(name, "").strip().splitlines():
            _run(statement)


_names: dict[str, object] = {}


def _run(statement: str) -> None:
    with contextlib.suppress(Exception):  # another version of the library may lack a name: then less is warm
        exec(statement, _names)
