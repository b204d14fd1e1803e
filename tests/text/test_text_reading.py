"""Reading answers: normalisation, expressions, units, values, golds."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tutelage.records import AnswerKind, Choices
from tutelage.text.answers import UnreadableGold, infer_kind, rational_of, read_answer, read_gold
from tutelage.text.expressions import parse_expression, symbols
from tutelage.text.normalise import MAX_ANSWER, has_balanced_braces, nesting, normalise
from tutelage.text.rationals import rational
from tutelage.text.units import canonical_unit, split_compound, split_unit, units_match


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", "12"),
        (" $ 12 $ ", "12"),
        (r"\left( 1 ,\; 2 \right]", "(1, 2]"),
        (r"\dfrac{1}{2}", r"\frac{1}{2}"),
        (r"\$5", "$5"),
        ("$5", "$5"),
        ("$5$", "5"),
        (r"10,\!236", "10236"),
        (r"1, \, 2", "1, 2"),
        ("32, 349", "32, 349"),
        (r"90^{\circ}", "90°"),
        (r"\text{in}^2", "in^2"),
        ("3.", "3"),
        (r"2\ldots", r"2\ldots"),
        ("x<=3", r"x\le 3"),
        ("−3", "-3"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        ("**7**", "7"),
        (r"\begin{pmatrix}1\\ 2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
        ("Rs. 1500", "₹1500"),
        ("-Rs. 1,500/-", "-₹1,500"),
        (r"\text{Rs}~1500", "₹1500"),
        ("1500 Rs.", "1500₹"),
        (r"US\$ 1,500", "$1,500"),
        ("USD 20, EUR 5", "$20, €5"),
        ("3 rs", "3 rs"),
        ("5Rs", "5Rs"),
        ("Rsx", "Rsx"),
        ("1500/-", "1500/-"),
        (r"{n \choose 2}", r"\binom{n}{2}"),
        (r"\sin{30^\circ}", r"\sin{30°}"),
        (r"\frac{90^{\circ}}{2}", r"\frac{90°}{2}"),
        (r"\phantom{0}60", "60"),
        (r"\phantom{60}", ""),
        (r"\hphantom{1}6\hspace{1cm}", "6"),
        (r"\textcolor{red}{60}", "60"),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise(text) == expected
    assert normalise(normalise(text)) == expected


def test_nesting_and_braces() -> None:
    assert nesting("((a)[b])") == 2
    assert nesting(")))(") == 1
    assert has_balanced_braces(r"\frac{1}{2} \{")
    assert not has_balanced_braces(r"\frac{1}{2")
    assert not has_balanced_braces("}{")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2+3*4", "14"), ("-2^2", "-4"), ("(-2)^2", "4"), ("2^3^2", "512"), ("2^{-2}", "1/4"), ("8/4/2", "1"),
        (r"\frac12+\frac{1}{3}", "5/6"),
        (r"\frac{1}{2}\cdot 4", "2"), ("2(3+4)", "14"), (r"\sqrt{\frac{4}{9}}", "2/3"), (r"27^{1/3}", "3"),
        (r"3\frac{1}{2}", "7/2"), ("4!", "24"),
        (r"\binom{5}{2}", "10"), (r"6\div 3", "2"), ("--3", "3"), ("2*-3", "-6"), (r"\sqrt[4]{16}", "2"),
        (r"(\frac{2}{3})^{-1}", "3/2"), (r"\frac1{60}", "1/60"), ("{2}(30)", "60"),
        (r"2^{6}3^{2}", "576"), ("2^6 3^2", "576"),
    ],
)  # fmt: skip
def test_exact_values(text: str, value: str) -> None:
    tree = parse_expression(text)
    assert tree is not None
    assert rational(tree) == Fraction(value)


@pytest.mark.parametrize(
    "text",
    [
        "1/2x",
        "3 4",
        r"3\frac{5}{2}",
        "3!!",
        "2..3",
        "x2",
        "abc",
        "(1",
        "1)",
        "",
        "+",
        r"\foo{2}",
        "1=2",
        r"\sqrt12",
        "1{60}",  # TeX shows 160
        "{1}60",
        "{1}{60}",
        "1,2",
        "2#3",
    ],
)
def test_ambiguous_or_foreign_notation_has_no_tree(text: str) -> None:
    assert parse_expression(text) is None


@pytest.mark.parametrize(
    "text", ["1/0", "0^0", "0^{-1}", r"\sqrt{2}", r"\sqrt{-4}", "9^{9^{9}}", "(10^6)!", r"\binom{2}{5}", "(-1)!", "x"]
)
def test_what_has_no_rational_value(text: str) -> None:
    tree = parse_expression(text)
    assert tree is not None
    assert rational(tree) is None


def test_symbols_of_a_tree() -> None:
    tree = parse_expression(r"2x_{1}+\alpha'y^2\pi")
    assert tree is not None
    assert symbols(tree) == {"x_1", "alpha'", "y", "pi"}


@pytest.mark.parametrize(
    ("text", "value"),
    [("1,234.5", "2469/2"), ("3 3/4", "15/4"), ("-2 1/2", "-5/2"), ("1.5e3", "1500"), ("x = 7", "7"),
     ("12 apples", "12"), ("2.5 million", "2500000"),
     ("eleven", "11"), ("two dozen", "24"), ("$3.50", "7/2"), ("½", "1/2"), (r"\text{five}", "5"), ("5 m", "5"),
     ("5cm", "5")],
)  # fmt: skip
def test_numbers_in_words_and_with_units(text: str, value: str) -> None:
    assert rational_of(read_answer(text)) == Fraction(value)


@pytest.mark.parametrize(
    "text",
    [
        "3y",
        "5m",
        "x",
        "Friday",
        "5 or 6",
        "(1,2)",
        "not 5",
        "5 but not 6",
        "1101_2",
        "2:3",
        r"\pi",
        "3 x 4",
        "5 less than 7",
    ],
)
def test_what_is_no_rational_number(text: str) -> None:
    assert rational_of(read_answer(text)) is None


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("2h30m", ["2 h", "30 min"]), ("1h 2m 3s", ["1 h", "2 min", "3 s"]), ("5m30s", ["5 min", "30 s"]),
        ("2hrs30mins", ["2 h", "30 min"]), ("1d5h", ["1 day", "5 h"]), ("3m20cm", ["3 m", "20 cm"]),
        ("2小时30分钟", ["2 h", "30 min"]), ("3 kilograms 250 grams", ["3 kg", "250 g"]),
    ],
)  # fmt: skip
def test_one_quantity_in_several_units(text: str, parts: list[str]) -> None:
    assert split_compound(text) == (parts, "")


@pytest.mark.parametrize("text", ["30m2h", "2h3h", "2m3d", "2x30y", "2h30", "h30m", "-2h30m", "2y6m", "2 3m", "5m"])
def test_what_is_no_quantity_in_several_units(text: str) -> None:
    assert split_compound(text) is None


def test_units() -> None:
    assert split_unit("36in^2") == ("36", "in^2", 1)
    assert split_unit("2.4 million dollars") == ("2.4", "$", 10**6)
    assert split_unit("5 times 3") is None
    assert canonical_unit("sq. ft.") == canonical_unit("square feet") == ("ft^2", 1)
    assert canonical_unit("miles per hour") == canonical_unit("mph") == ("mi/h", 1)
    assert units_match("kg", "g") is False
    assert units_match("/h", "mi/h") is True
    assert units_match("/h", "mi/day") is False
    assert split_unit("14ish") is None
    assert split_unit("14people") == ("14", "person", 1)
    assert units_match("", "g") is True
    assert units_match("red apple", "apple") is None
    assert units_match("pear", "apple") is False


@pytest.mark.parametrize(
    ("gold", "kind", "why"),
    [
        ("", None, "empty"),
        ("  $ $ ", None, "empty"),
        (r"\boxed{}", None, "empty"),
        ("1" * (MAX_ANSWER + 1), None, "characters"),
        ("(" * 70 + ")" * 70, None, "nested"),
        (r"\frac{1}{2", None, "braces"),
        ("eighteen or so", "number", "not a number"),
        ("x", "number", "not a number"),
        ("5 or 6", "number", "not a number"),
        ("E", "choice", "labels A, B"),
    ],
)
def test_golds_that_cannot_be_read_are_refused(gold: str, kind: AnswerKind | None, why: str) -> None:
    with pytest.raises(UnreadableGold, match=why):
        read_gold(gold, kind, Choices(("A", "B"), ("x", "y")) if kind == "choice" else None)


@pytest.mark.parametrize(
    ("gold", "kind"),
    [("18", "number"), ("1,000", "number"), (r"\frac{1}{2}", "number"), (r"5\text{ cm}", "number"),
     (r"\sqrt{2}", "latex"), ("x^2", "latex"), ("(1,2)", "latex"),
     ("Friday", "text"), ("February 3rd", "text"), (r"\text{even}", "text"), ("1, 2", "latex")],
)  # fmt: skip
def test_kinds_are_inferred(gold: str, kind: str) -> None:
    assert infer_kind(gold) == kind
    assert infer_kind(gold, Choices(("A",), ("x",))) == "choice"
