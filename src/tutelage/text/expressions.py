r"""Arithmetic notation as a tree.

What it is: a tokenised whitelist and a small parser for school mathematics in LaTeX or plain notation
(`\frac{3}{4}`, `2.4\times 10^5`, `3 + 4i`, `7*sqrt(2)`). A text with anything else in it has no tree.
What it is not: an evaluator (text/rationals.py), and nothing here guesses: where notation is ambiguous (`1/2x`, `3 4`)
there is no tree.

Trees are tuples: ("num", Fraction), ("sym", name), ("neg", t), ("add" | "mul" | "div" | "pow", t, u), ("fact", t),
("call", name, t, ...): names are those of `FUNCTIONS`, `root` (radicand, index), `logb` (argument, base) and
`binom`. A degree sign is read inside a function's argument only; elsewhere it is a unit.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

Tree = tuple[Any, ...]

MAX_TOKENS = 300
MAX_DEPTH = 64

_TOKEN = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)|(\\[A-Za-z]+)|([A-Za-z]+)|(\|\||[-+*/^_!(){}\[\]'|,°]) ?| ")
FUNCTIONS = frozenset(
    (
        "sin", "cos", "tan", "sec", "csc", "cot", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh",
        "log", "ln", "exp", "lg", "det", "gcd", "lcm", "max", "min", "arg", "cis", "floor", "ceil", "abs",
    )
)  # fmt: skip
_ALIASES = {
    "tg": "tan", "ctg": "cot", "cosec": "csc", "arctg": "arctan", "asin": "arcsin", "acos": "arccos", "atan": "arctan",
    "ceiling": "ceil",
}  # fmt: skip
_SEVERAL = frozenset(("gcd", "lcm", "max", "min"))
_INVERSES = {"sin": "arcsin", "cos": "arccos", "tan": "arctan"}
_FENCES = {r"\lfloor": (r"\rfloor", "floor"), r"\lceil": (r"\rceil", "ceil"), "|": ("|", "abs")}
_HALF_TURN: Tree = ("div", ("sym", "pi"), ("num", Fraction(180)))
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
_ENDS = frozenset((")", "}", "]", "+", "-", "*", "/", "^", "_", "!", "'", ",", r"\rfloor", r"\rceil", "°"))


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


def size(tree: Tree) -> int:
    """Number of nodes of the tree."""
    return 1 + sum(size(part) for part in tree[1:] if isinstance(part, tuple))


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
        elif command:
            tokens.extend(_command(command))
        elif operator == "||":
            tokens.extend("||")
        elif number or operator:
            tokens.append(number or operator)
        elif tokens and position + 1 < len(text) and tokens[-1][-1].isdigit() and text[position + 1].isdigit():
            if len(tokens) > 1 and tokens[-2] in (r"\frac", r"\binom") and len(tokens[-1]) == 1:
                position = match.end()
                continue  # `\frac 1 2` has two arguments
            if len(tokens) < 2 or tokens[-2] not in ("^", "_"):
                raise NotAnExpression(text)  # "3 4" is no product
            tokens[-1:] = ["{", tokens[-1], "}"]  # "2^6 3^5" is one, and so is "log_2 8"
        position = match.end()
    return tokens


def _command(command: str) -> list[str]:
    r"""A command by its usual name; a function with its argument glued on, as in `\cotx`, taken apart."""
    name = command[1:]
    name = _ALIASES.get(name, name)
    if name not in FUNCTIONS and name[:-1] in FUNCTIONS and len(name) > 3 and name[-1] in "xyzt":
        return ["\\" + name[:-1], name[-1]]
    return ["\\" + name]


def _word(word: str) -> list[str]:
    r"""A run of letters: a function or constant by name, or one or two symbols; longer runs are words."""
    word = _ALIASES.get(word, word)
    if word in FUNCTIONS or word in ("sqrt", "pi", "binom", "frac"):
        return ["\\" + word]
    if len(word) > 2:
        raise NotAnExpression(word)
    return list(word)


class _Parser:
    """Recursive descent with a depth limit; one instance reads one text."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.position, self.depth = tokens, 0, 0
        self.fences = self.calls = 0

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
            elif token in _ENDS or (token == "|" and self.fences):
                break
            else:
                is_number = token[0].isdigit() or token[0] == "."
                if is_after_slash or (is_number and not self.can_multiply()) or self.is_glued():
                    raise NotAnExpression("ambiguous product")
                tree = ("mul", tree, self.factor())
        return ("neg", tree) if is_negative else tree

    def can_multiply(self) -> bool:
        """Whether the number that comes next is a factor beside what was read: after a group, `4!` after `2!`."""
        before = self.tokens[self.position - 1]
        return before in ("}", ")") or (before == "!" and self.tokens[self.position + 1 : self.position + 2] == ["!"])

    def is_glued(self) -> bool:
        """Whether digits and a group of digits stand side by side: `1{60}` is 160 to who reads it, and no product."""
        before, *after = self.tokens[self.position - 1 : self.position + 2]
        return before[-1].isdigit() and after[0] == "{" and after[1:] != [] and after[1][0].isdigit()

    def signed_factor(self) -> Tree:
        if self.peek() == "-":
            self.take()
            return ("neg", self.factor())
        return self.factor()

    def factor(self) -> Tree:
        is_group = self.peek() == "{"
        tree = self.atom()
        if is_group and tree[0] == "num" and (self.peek()[:1].isdigit() or self.peek() == "{"):
            raise NotAnExpression("digits apart by braces that nobody sees: {1}60")
        while self.peek() in ("^", "!", "°"):
            sign = self.take()
            if sign == "°":
                if not self.calls:
                    raise NotAnExpression("a unit")
                tree = ("mul", tree, _HALF_TURN)
            elif sign == "!":
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
        if token in _FENCES:
            return self.fenced(*_FENCES[token])
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

    def fenced(self, closing: str, name: str) -> Tree:
        """What stands between `|` and `|`, or the signs of floor and ceiling."""
        outer, self.fences = self.fences, self.fences + 1 if closing == "|" else 0
        tree = self.expression()
        self.take(closing)
        self.fences = outer
        return ("call", name, tree)

    def call(self, name: str) -> Tree:
        power: Tree | None = None
        base: Tree | None = None
        for _ in range(2):
            if self.peek() == "^" and power is None:
                self.take()
                power = self.argument()
            elif self.peek() == "_" and base is None:
                self.take()
                base = self.argument()
        if base is not None and name != "log":
            raise NotAnExpression("a subscript of a function")
        if power in (("num", Fraction(-1)), ("neg", ("num", Fraction(1)))):
            if name not in _INVERSES:
                raise NotAnExpression("ambiguous inverse")
            name, power = _INVERSES[name], None
        self.calls += 1
        tree = self.several(name) if name in _SEVERAL else _applied(name, self.operand(), base)
        self.calls -= 1
        return tree if power is None else ("pow", tree, power)

    def operand(self) -> Tree:
        """The argument of a function: a group, or a product such as `2x` that runs to the next sign or function."""
        is_group = self.peek() in ("(", "{")
        if self.peek() == "(":
            argument = self.atom()  # the power in `\sin(x)^2` is that of the sine
            while self.peek() == "°":
                self.take()
                argument = ("mul", argument, _HALF_TURN)
            return argument
        argument = self.factor()
        if is_group and self.tokens[self.position - 1] in (")", "}"):
            return argument
        while (token := self.peek()) and token not in _ENDS and token not in _TIMES and token[1:] not in FUNCTIONS:
            if token[0].isdigit() or token == "|" or token in _DIVIDE or (is_group and token in ("(", "{")):
                break
            argument = ("mul", argument, self.factor())
        return argument

    def several(self, name: str) -> Tree:
        """A function of several arguments in parentheses."""
        self.take("(")
        arguments = [self.expression()]
        while self.peek() == ",":
            self.take()
            arguments.append(self.expression())
        self.take(")")
        return ("call", name, *arguments)

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


def _applied(name: str, argument: Tree, base: Tree | None) -> Tree:
    if base is not None:
        return ("call", "logb", argument, base)
    if name == "cis":
        return ("add", ("call", "cos", argument), ("mul", ("sym", "i"), ("call", "sin", argument)))
    return ("call", name, argument)
