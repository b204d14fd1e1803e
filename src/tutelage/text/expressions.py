r"""Arithmetic notation as a tree.

What it is: a tokenised whitelist and a small parser for school mathematics in LaTeX or plain notation
(`\frac{3}{4}`, `2.4\times 10^5`, `3 + 4i`, `7*sqrt(2)`). A text with anything else in it has no tree.
What it is not: an evaluator (text/rationals.py), and nothing here guesses: where notation is ambiguous (`1/2x`, `3 4`)
there is no tree.

Trees are tuples: ("num", Fraction), ("sym", name), ("neg", t), ("add" | "mul" | "div" | "pow", t, u), ("fact", t),
("call", name, t, ...).
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

Tree = tuple[Any, ...]

MAX_TOKENS = 300
MAX_DEPTH = 64

_TOKEN = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)|(\\[A-Za-z]+)|([A-Za-z]+)|([-+*/^_!(){}\[\]']) ?| ")
FUNCTIONS = frozenset(
    (
        "sin", "cos", "tan", "sec", "csc", "cot", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh",
        "log", "ln", "exp", "lg", "det", "gcd", "lcm", "max", "min", "arg",
    )
)  # fmt: skip
_GREEK = frozenset(
    (
        "alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta",
        "iota", "kappa", "lambda", "mu", "nu", "xi", "rho", "sigma", "tau", "upsilon", "phi", "varphi",
        "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Phi", "Psi",
        "Omega", "ell", "hbar",
    )
)  # fmt: skip
_TIMES = frozenset(("*", r"\cdot", r"\times"))
_DIVIDE = frozenset(("/", r"\div"))
_ENDS = frozenset((")", "}", "]", "+", "-", "*", "/", "^", "_", "!", "'"))


class NotAnExpression(ValueError):
    """The text is no arithmetic that this module reads, or it is ambiguous."""


def parse_expression(text: str) -> Tree | None:
    """The tree of a normalised text, or None where it has none.

    Args:
        text: an answer as `normalise` gives it, at most `MAX_TOKENS` tokens.
    """
    try:
        tokens = _tokens(text)
        if not tokens or len(tokens) > MAX_TOKENS:
            return None
        parser = _Parser(tokens)
        tree = parser.expression()
        return tree if parser.position == len(tokens) else None
    except NotAnExpression:
        return None


def symbols(tree: Tree) -> frozenset[str]:
    """Names of all symbols in the tree."""
    if tree[0] == "sym":
        return frozenset((tree[1],))
    return frozenset().union(*(symbols(part) for part in tree[1:] if isinstance(part, tuple)))


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise NotAnExpression(text)
        number, command, word, operator = match.groups()
        if word:
            tokens.extend(_word(word))
        elif number or command or operator:
            tokens.append(number or command or operator)
        elif tokens and position + 1 < len(text) and tokens[-1][-1].isdigit() and text[position + 1].isdigit():
            raise NotAnExpression(text)  # "3 4" is no product
        position = match.end()
    return tokens


def _word(word: str) -> list[str]:
    r"""A run of letters: a function or constant by name, or one or two symbols; longer runs are words."""
    if word in FUNCTIONS or word in ("sqrt", "pi", "binom", "frac"):
        return ["\\" + word]
    if len(word) > 2:
        raise NotAnExpression(word)
    return list(word)


class _Parser:
    """Recursive descent with a depth limit; one instance reads one text."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.position, self.depth = tokens, 0, 0

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self, expected: str = "") -> str:
        token = self.peek()
        if not token or (expected and token != expected):
            raise NotAnExpression(token)
        self.position += 1
        return token

    def expression(self) -> Tree:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise NotAnExpression("too deep")
        tree = self.term()
        while self.peek() in ("+", "-"):
            sign = self.take()
            other = self.term()
            tree = ("add", tree, other if sign == "+" else ("neg", other))
        self.depth -= 1
        return tree

    def term(self) -> Tree:
        is_negative = False
        while self.peek() in ("+", "-"):
            is_negative ^= self.take() == "-"
        tree = self.factor()
        is_after_slash = False
        while token := self.peek():
            if token in _TIMES or token in _DIVIDE:
                self.take()
                other = self.signed_factor()
                tree = ("mul" if token in _TIMES else "div", tree, other)
                is_after_slash = token in _DIVIDE
            elif token in _ENDS:
                break
            else:
                if is_after_slash or token[0].isdigit() or token[0] == ".":
                    raise NotAnExpression("ambiguous product")
                tree = ("mul", tree, self.factor())
        return ("neg", tree) if is_negative else tree

    def signed_factor(self) -> Tree:
        if self.peek() == "-":
            self.take()
            return ("neg", self.factor())
        return self.factor()

    def factor(self) -> Tree:
        tree = self.atom()
        while self.peek() in ("^", "!"):
            if self.take() == "!":
                if self.peek() == "!":
                    raise NotAnExpression("double factorial")
                tree = ("fact", tree)
            else:
                tree = ("pow", tree, self.exponent())
        return tree

    def exponent(self) -> Tree:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise NotAnExpression("too deep")
        is_negative = self.peek() == "-"
        if is_negative:
            self.take()
        tree = self.atom()
        if self.peek() == "^":
            self.take()
            tree = ("pow", tree, self.exponent())
        self.depth -= 1
        return ("neg", tree) if is_negative else tree

    def atom(self) -> Tree:
        token = self.take()
        if token[0].isdigit() or token[0] == ".":
            return self.number(token)
        if token in ("(", "{"):
            tree = self.expression()
            self.take(")" if token == "(" else "}")
            return tree
        if token.isalpha():
            return ("sym", self.subscripted(token))
        name = token[1:] if token[0] == "\\" else ""
        if name == "pi" or name in _GREEK:
            return ("sym", self.subscripted(name))
        if name in ("frac", "binom"):
            first = self.argument()
            return (
                "div" if name == "frac" else "call",
                *(("binom",) if name == "binom" else ()),
                first,
                self.argument(),
            )
        if name == "sqrt":
            return self.root()
        if name in FUNCTIONS:
            return self.call(name)
        raise NotAnExpression(token)

    def number(self, token: str) -> Tree:
        r"""A literal; `4\frac{3}{5}` is the mixed number 23/5 and an improper fraction there is ambiguous."""
        whole = Fraction(token)
        if self.peek() != r"\frac":
            return ("num", whole)
        start = self.position
        self.take()
        top, bottom = self.argument(), self.argument()
        if top[0] == "num" and bottom[0] == "num":
            if not (whole.denominator == 1 and "." not in token and top[1] < bottom[1] and self.peek() != "^"):
                raise NotAnExpression("ambiguous mixed number")
            return ("num", whole + top[1] / bottom[1])
        self.position = start
        return ("num", whole)

    def argument(self) -> Tree:
        r"""A braced group or, as in `\frac12`, one digit or symbol."""
        token = self.peek()
        if token == "{":
            return self.atom()
        if token and token[0].isdigit() and len(token) > 1 and "." not in token:
            self.tokens[self.position : self.position + 1] = [token[0], token[1:]]
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise NotAnExpression("too deep")
        token = self.take()
        if token[0].isdigit():
            tree: Tree = ("num", Fraction(token))
        elif token.isalpha() and len(token) == 1:
            tree = ("sym", token)
        elif token[0] == "\\":
            self.position -= 1
            tree = self.atom()
        else:
            raise NotAnExpression(token)
        self.depth -= 1
        return tree

    def root(self) -> Tree:
        index: Tree = ("num", Fraction(2))
        if self.peek() == "[":
            self.take()
            index = self.expression()
            self.take("]")
        if self.peek() == "(":
            return ("call", "root", self.atom(), index)
        if self.peek().isdigit() and len(self.peek()) > 1:  # TeX reads the first digit, people the number
            raise NotAnExpression("ambiguous root")
        return ("call", "root", self.argument(), index)

    def call(self, name: str) -> Tree:
        power: Tree | None = None
        if self.peek() == "^":
            self.take()
            power = self.argument()
        if self.peek() == "_":
            self.take()
            name = f"{name}_{self.argument()!r}"
        if self.peek() in ("(", "{"):
            tree: Tree = ("call", name, self.atom())
        else:
            argument = self.factor()
            while (token := self.peek()) and token not in _ENDS and token not in _TIMES and token[1:] not in FUNCTIONS:
                argument = ("mul", argument, self.factor())
            tree = ("call", name, argument)
        return tree if power is None else ("pow", tree, power)

    def subscripted(self, name: str) -> str:
        while self.peek() in ("_", "'"):
            if self.take() == "'":
                name += "'"
                continue
            token = self.take()
            if token == "{":
                inner = ""
                while (token := self.take()) != "}":
                    inner += token
                token = inner
            name += "_" + token
        return name
