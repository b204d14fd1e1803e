"""The checker, rule by rule (`tutelage.grading`); pairs that must not be equal come first."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.grading.checker import Check, Checker, check

WRONG = [
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"2\begin{pmatrix}1\\2\end{pmatrix}"), ("5", "5 ft 3 in"),
    ("2小时30分钟", "2小时"), ("5 ft 3 in", "5 ft 4 in"), ("BD", "B"), (r"\{2,3\}", "x=2, y=3"),
    ("12", "(lambda: 12)()"), ("12", "print(12)"),
    ("2, 3", "two and a half"),
    ("4", "大于4"), ("4", "4以上"), ("4", "4左右"), ("A", "not A"), ("A", "neither A nor B"),
    ("5", "5 or more"), ("16", "0.333..."), ("7", "~8"), ("7", r"\sim 8"), ("10 km/h", "10 m s^{-1}"),
    ("7", "7 = 7 = 8"),
    ("80 km/h", "80米/秒"), ("(3,-2)", "x = -2, y = 3"), ("(3,-2)", "x = 3"), ("(3,-2)", "3, -2"), ("7", "7 = 7 = 7"),
    ("7", "7 if x else 8"), ("2x+y=3", "0=0"), ("2x+y=3", "1=2"), ("C", "D项"),
    ("6.02\\times10^{23}", "6.02 x 10^{22}"),
    ("x^2", "0=0"), ("(3,-2)", "u = -2, w = 4"),
    # rule 1: exact against exact
    ("1/3", "0.333333"), (r"\sqrt{2}", "1.41421356"), (r"\pi", "3.14159"), (r"\pi", r"\frac{22}{7}"),
    ("0.1", "0.10000001"),
    ("12345678901234567890", "12345678901234567891"), ("1", "1.0000000000000000000001"), ("7", "-7"), ("3", "3 M"),
    ("21", "2**1"), ("15", "15/2"), ("3", "3.5"),
    ("300", "300,000"), ("1000", "1"), ("2", "20"), ("0", "0.0001"), ("5", "5e1"),
    # rule 2: percent
    ("45", "0.45"), ("45%", "4.5"), ("45%", "4500"), ("45%", "0.45%"), ("5%", "6%"),
    # rule 3: units
    ("10 hours", "10 minutes"), ("60 minutes", "1 hour"), (r"30^\circ", "30°C"),
    (r"30^\circ", "30°F"), ("30 degrees Celsius", "30°F"), ("5 kg", "5 lb"), (r"\$4", "£4"), ("4 dollars", "4 cents"),
    ("10 cm", "10 cm^2"), ("3 apples", "3 pears"), (r"60^\circ", r"\frac{\pi}{3}"), ("3", "3y"),
    # rule 4: commas
    ("2,500", "2.5"), ("1,2", "12"), ("1,2", "1.2"), ("12,34", "1234"),
    # a thousands group is one number, whatever the other side is
    ("1,000", "1, 0"), ("1,000", "0, 1"), ("1,000", "1,0"), ("1,000", "1, 00"), ("1,000", "1, 000"),
    ("1,000", "0 and 1"), ("1,001", "1 or 1"), ("1,234", "234, 1"), ("12,100", "100, 12"), ("12,345", "12, 345"),
    ("1,000,000", "1,000,00"), ("100,200", "100, 200"), ("1,000, 2", "1, 0, 2"), ("(1,000, 2)", "(1, 0, 2)"),
    ("(1,000, -2)", "(1,0,-2)"),
    ("(1,000,2)", "(1000,2)"), ("(1,000, 2)", "(1,000,2)"),
    # rule 5: structures
    ("[1, 2]", "1, 2"), (r"\{1,2\}", "[1, 2]"), ("2:3", "2, 3"), ("1, 2, 3", r"1, 2, \ldots"),
    ("1, 2", r"1, 2, \ldots"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\left(\begin{array}{cc}1&2\\3&5\end{array}\right)"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\left[\begin{array}{c}2\\1\end{array}\right]"),
    ("(1,2)", "(2,1)"), ("(1,2)", r"\{1,2\}"), ("(1,2)", "1,2"), ("(1,2)", "[1,2]"), ("1,2,2", "1,1,2"),
    ("1,2", "1,2,3"),
    (r"\{5\}", "5"), ("5", "5,5"), ("1,2", "1"), ("x=1,y=2", "x=2,y=1"), (r"\{1,2\}", r"\{1,3\}"),
    # rule 6: plus or minus
    (r"\pm 2", "2"), (r"1\pm\sqrt{2}", r"1+\sqrt{2}"), (r"\pm 2", "2, -3"),
    # rule 7: mixed numbers
    (r"4\frac{3}{5}", r"\frac{12}{5}"), (r"-1\frac{1}{2}", r"-\frac{1}{2}"), ("1 1/2", "11/2"),
    # rule 8: equations
    ("x=5", "y=5"), ("8", "7=8"), ("8", "2x+1=8"), ("3", "3=4"), ("5", "2+3=5"), ("y=2x", "y=-2x"), ("x+y=1", "x+y=2"),
    # rule 9: inequalities and intervals
    ("(1,2]", "1<x<2"), ("x>3", "x<3"), ("x>3", "y>3"), ("[0,1]", "[0,1)"), (r"(0,1)\cup(2,3)", "(0,3)"),
    ("x>2", r"x\ge 2"),
    ("3", "x>3"), ("3", "(0,5)"), ("3", "[3,3.5]"),
    # rule 11: text
    ("Tuesday", "Thursday"), ("yes", "no"), ("even", "not even"), ("Tom", "Tom and Ann"), ("left", "left handed"),
    ("five", "6"), ("Monday", "1"), ("no", "no solution"), ("yes", r"\emptyset"),
    # rule 12: bases, ratios, times
    ("BAD_{16}", "BAD_{15}"), ("BAD_{16}", "BAD"),
    ("101_2", "101_3"), ("101_2", "110_2"), ("1:2", "2:1"), ("10:20", "10:25"), ("9:15 am", "9:15 pm"),
    # algebra: proved different, not guessed
    (r"\sin(x^2)", r"\sin(x)^2"), ("xy", "x+y"), ("xy", "2x"), ("xy", "xz"), (r"2\sqrt[3]{2}", "3∛2"), ("2", "∛16"),
    ("x^2-1", "x^2+1"), (r"\sqrt{2}", r"\sqrt{3}"), (r"2\sqrt{3}", r"3\sqrt{2}"), ("9", r"9\pi"), ("3+2i", "3-2i"),
    ("n^2", "m^2"), ("(a+b)^2", "a^2+b^2"), (r"\frac{x}{y}", r"\frac{y}{x}"), ("4", r"4\sqrt{2}"),
    # structure of matrices, infinities
    (r"\begin{pmatrix}1&2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"), ("x", "X"), ("x^2", "X^2"),
    (r"\infty", "5"), (r"\infty", r"-\infty"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}"),
    # text is never a number, a hedge never an answer
    ("5", "not 5 but 6"), ("30", "about thirty"), ("0", "none"), ("3", "about 3"), ("3", "3 is wrong"), ("3", "3 to 4"),
    ("3", "three quarters"), ("12", "no idea"), ("5", "it is 6"), ("5", "5 (or 6)"), ("3, 5, 7", "no real roots"),
    ("是", "否"), ("5米", "5 cm"), ("5", "more than 5"), ("5", "maybe 5"),
    # what would be too close for floating-point numbers, or for few digits
    (r"\sin(1)+10^{-300}", r"\sin 1"), (r"\sin(10^{-100})", "10^{-100}"), (r"\ln(1+10^{-200})", "0"),
    (r"\sqrt{\frac{\tan 5}{3}}", r"\sqrt{\frac{\tan 5}{3}}+10^{-200}"), (r"\sqrt{\tan(\pi)}", r"\sin(\frac{y}{100!})"),
    ("(x+1)^{500}", "(x+1)^{501}"), (r"\sqrt{x^2}", "x"), ("3.5", "3-1/2"),
    # a question is no answer
    ("12", r"\int_0^{12} 1 dx"), ("1", r"\lim_{x\to 0}\frac{\sin x}{x}"), ("6", r"\prod_{k=1}^3 k"),
    # several answers at once
    ("5", "5 or 6"), ("5", "5, 6"), ("5", r"\{5, 6\}"), ("5", "4,5,6"), ("5", r"x=5 \text{ or } x=6"), ("", ""),
    ("3", ""),
]  # fmt: skip

RIGHT = [
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\mathbf{v} = \begin{bmatrix} 1 \\[4pt] 2 \end{bmatrix}"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"A = -\begin{pmatrix} -1 \\* -2 \end{pmatrix}"),
    ("(1,2)", "the vector <1, 2>"), ("5 feet 3 inches", "5 ft 3 in."), ("2小时30分钟", "2 hours and 30 minutes"),
    (r"\{2,3\}", "x_1=3, x_2=2"),
    (r"(0,1)\cup(1,2)\cup(2,\infty)", r"x>0 and x\ne 1 and x\ne 2"), ("[2,5]", "The interval [2,5]"),
    ("7.5", "seven and a half"), ("7.5 hours", "seven and a half hours"), ("48", "48 eggs left over"), ("1/2", "一半"),
    ("13", "13 more eggs"), ("5", "5 more"), ("1/3", ".333..."), ("2/3", r"0.6666\ldots"), ("1/11", "0.0909..."),
    ("1", "0.999..."), ("1/7", "0.142857142857..."), (r"6.02\times10^{23}", "6.02 x 10^23"),
    (r"6.02\times10^{23}", "6.02X10^{23}"), ("7", "exactly 7"), ("7", "only $7$"), ("10 m/s", "10 m s^{-1}"),
    ("10 m/s^2", r"10 m \cdot s^{-2}"), ("80", "80千米/小时"), ("80 km/h", "80千米每小时"), ("C", "C项"),
    ("C", "C选项"),
    ("(3,-2)", "x = 3, y = -2"), ("(3,-2)", "y = -2 and x = 3"), ("(1,2,3)", "x=1, y=2, z=3"), ("x=7", "x=7=7"),
    ("1/3", r"\frac{1}{3}"), ("1/3", r"\dfrac{2}{6}"), (r"\frac12", "0.5"), ("27", "3^3"), ("27", "3**3"),
    ("1024", "2^{10}"),
    ("0.001", "10^{-3}"),
    ("240000", r"2.4\times 10^{5}"), ("1500", "1.5e3"), ("-15", "–15"), (".5", "0.50"), ("007", "7"), ("5.", "5"),
    ("15", r"\binom{6}{2}"),
    ("120", "5!"), ("3", r"\sqrt{9}"), ("2", r"\sqrt[3]{8}"), ("1/2", "½"), ("12", "１２"), ("42", "**42**"),
    ("42", "$42$"), ("42", r"\boxed{42}"),
    ("45%", "0.45"), ("45%", "45"), ("45%", r"\frac{9}{20}"), (r"45\%", "45 percent"),
    ("5 miles", "5"), ("5 miles", "5 mi"), (r"36\text{ in}^2", "36 square inches"),
    (r"36\text{ in}^2", "36 sq. in."), (r"90^\circ", "90 degrees"),
    (r"\$2,400", "2400 dollars"), ("2000000", "2 million"), ("3 apples", "3"), (r"15\pi\text{ cm}", r"15\pi"),
    ("-10", "-10°F"),
    ("86400", "86,400"), ("7{,}200", "7200"), ("10,\\!236", "10236"), (r"1\,000\,000", "1000000"),
    ("(1,000, 2)", "(1000,2)"), ("(1,000, -2)", "(1000,-2)"), ("(1,000,2)", "(1, 0, 2)"), ("(100,200)", "(100, 200)"),
    ("1,000, 2", "2, 1000"), ("118000", "118 000"), ("1234567.5", "1 234 567.5"), ("118000", "118\u2009000 km"),
    ("(4,-1)", "( 4 , -1 )"), ("1,2", "2, 1"), ("1, 4, 6", r"1, 4 \text{ and } 6"), (r"\{1,2\}", "2,1"),
    ("5; 15; 20", "20, 5, 15"),
    (r"(r,\theta)=(2,\pi/6)", r"\left(2,\frac{\pi}{6}\right)"), ("2,4,x", "x,4,2"), (r"\{\}", r"\emptyset"),
    (r"\pm 9", "9, -9"), (r"3\pm\sqrt{7}", r"3-\sqrt{7}, 3+\sqrt{7}"), (r"\pm 1, 5", "5, 1, -1"),
    (r"5\frac{2}{3}", "17/3"), ("3 3/4", "3.75"), (r"-2\frac{1}{3}", r"-\frac{7}{3}"),
    ("x=5", "5"), ("y=-2x+7", "-2x+7"), ("2x+y-7=0", "y=7-2x"), ("x+y=1", "2x+2y=2"), ("x = 1 or x = 4", "1, 4"),
    ("x_1=3", "x_{1}=3"),
    ("(1,6]", r"1<x\le6"), ("x>3", r"(3,\infty)"), (r"x\ne 5", r"(-\infty,5)\cup(5,\infty)"), ("x<=1", r"1\ge x"),
    ("6>=x>1", "(1,6]"),
    (r"(0,2]\cup(2,3)", "(0,3)"), (r"\mathbb{R}", r"(-\infty,\infty)"), (r"x\in[1,2]", "[1,2]"),
    ("x<1 or x>2", r"(2,\infty)\cup(-\infty,1)"),
    ("Friday", r"\text{Friday}"), ("odd", "Odd"), ("no", "No."), ("seven", "7"), ("The red one", "red one"),
    ("twelve", "12.0"),
    ("101_2", "101_{2}"), ("2:7", "4 : 14"), ("9:15", "9:15 a.m."), ("09:15", "9:15"),
    ("(a-1)(a+4)", "a^2+3a-4"), (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}"), (r"3\sqrt{5}", r"\sqrt{45}"),
    ("5+i", "i+5"), (r"\frac{1}{1+\sqrt2}", r"\sqrt2-1"),
    (r"7\sqrt{2}", "7*sqrt(2)"), ("9π", r"9\pi"), (r"\frac{x^2-1}{x-1}", "x+1"), ("(1+i)^2", "2i"),
    (r"\sqrt{-4}", "2i"), (r"\sin(2x)", r"\sin(x+x)"),
    (r"\begin{pmatrix}\frac12&0\\0&2\end{pmatrix}", r"\left[\begin{array}{cc}0.5&0\\0&2\end{array}\right]"),
    (r"\begin{bmatrix} 1 \\ 2 \end{bmatrix}", r"\left( \begin{array}{r} 1 \\ 2 \end{array} \right)"),
    (r"\frac12", r"\frac 1 2"), (r"\sqrt[3]{54}", "3∛2"), ("2", "∛8"), ("2", "∜16"), ("15", r"\frac{6!}{2!\,4!}"),
    ("15", "6!/(2!4!)"), ("xy", "x y"), ("xy", "yx"), ("ab", "ba"), ("xyz", "zxy"),
    (r"\sin^2 x", r"\sin(x)^2"), (r"(\ln x)^2", r"\ln(x)^2"), (r"\frac12", r"\cos(60)^\circ"),
    ("30°C", "30 degrees"), (r"30^\circ", "30 degrees"), ("BAD_{16}", "bad_{16}"),
    (r"\begin{pmatrix}1/4\\-2\end{pmatrix}", r"\begin{bmatrix}0.25\\-2\end{bmatrix}"), (r"\infty", r"+\infty"),
    (r"-\infty", "-infinity"),
    (r"\\frac{1}{4}", r"\frac14"), ("30", "thirty"), (r"\cos^2 x", r"1-\sin^2 x"), (r"\log 100", r"2\log 10"),
    (r"\sqrt{3+2\sqrt{2}}", r"1+\sqrt{2}"), ("(x+1)^{500}", "(x+1)^{499}(x+1)"), (r"\frac{n!}{(n-2)!}", "n(n-1)"),
    (r"\cot x", r"\cotx"), ("2^6 3^5 5^4", "2^6 * 3^5 * 5^4"), (r"{1 \over 2}", "0.5"), ("3.0", "3⁰+2"),
    ("24元", "24"), ("9:15 AM", "9:15 a.m."), ("10 N", "10 newtons"), ("12 cc", "12 cm³"), ("£3", "3 pounds"),
]  # fmt: skip

UNDECIDED = [
    ("1/2x", "x/2"), ("101_2", "5"), ("1:2", "1/2"), ("5", "red apple 5"), ("2", "2:00 pm"),
    ("6 red apples", "6 apples"), ("on", "no"), ("AB", "BA"), (r"2\ln x", r"\ln x^2"), (r"\log 100", "2"),
    ("(-2)^{1/3}", r"-\sqrt[3]{2}"), ("y=x^2", "f(x)=x^2"), ("5", r"x\approx 5"),
    ("3", r"\frac 1 2 6"), ("8", "2!4"), ("24", "4!!"), ("cm", "mc"), ("act", "cat"), ("2x", "7/0"), ("5", "x/0"),
    ("7", r"\foo{7}"), ("3.14", "3.14..."), ("0.12", "0.12..."), ("10", "10+John's age"), ("no solution", "none"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{vmatrix}1&2\\3&4\end{vmatrix}"),
    ("-2", r"\left|\begin{array}{cc}1&2\\3&4\end{array}\right|"), ("1, 2, 3, 4", r"1, 2, \ldots, 4"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\left\{\begin{array}{c}1\\2\end{array}\right."),
]  # fmt: skip

MALFORMED = [
    ("7", "7 8 9"), ("7", "7 8"), ("12", "1 2"), ("7", r"\frac{7}{0}"), ("7", "7/0"), ("0", r"\frac{0}{0}"),
    ("7", "???"), ("7", "(7"), ("7", "7 +"), ("7", "7)"), ("7", "7?"), ("7", r"7\cdot"), ("7", "*7"), ("15", "15/"),
    ("1000", "1 0 0 0"), ("0", "0 000"), (r"\sqrt 2", r"\sqrt 2 +"), (r"\pi", "3 1 4"),
]  # fmt: skip

HOSTILE = [
    "8^{8^{8^{8}}}", "(10^{8})!", "9^9^9^9", r"\binom{10000000}{5000000}", "(" * 200 + "4" + ")" * 200, "3" * 6000,
    "((((10!)!)!)!)!",
    r"\frac{1}{1+" * 30 + "1" + "}" * 30, "-" * 390 + "3", "3" + "!" * 300, "1," * 199 + "1", r"\sqrt" * 79 + "2",
    "{" * 399, "}" * 399,
    r"\sum_{k=1}^{10^7} k", "+".join(["1"] * 199), "x^" * 199 + "2", "(a+b+c+d+e)^{500}", "\x00\x01\x02", "=" * 399,
    "3=3=3", "<" * 399,
    "[" * 60 + "3" + "]" * 60, "\\begin{pmatrix}" * 20, "²" * 300, "\u200b3", r"\int_0^3 1 dx", "|" * 399,
    "\\" * 399, "3" + " " * 300 + "4",
]  # fmt: skip


@pytest.mark.parametrize(("gold", "answer"), WRONG)
def test_different_answers_are_not_equal(gold: str, answer: str) -> None:
    assert check(gold, answer).equivalent is not True
    assert check(answer, gold).equivalent is check(gold, answer).equivalent


def test_different_answers_are_decided_and_not_left_open() -> None:
    undecided = [(gold, answer) for gold, answer in WRONG if check(gold, answer).equivalent is None]
    assert undecided == []


@pytest.mark.parametrize(("gold", "answer"), RIGHT)
def test_equal_answers_are_equal_both_ways(gold: str, answer: str) -> None:
    assert check(gold, answer).equivalent is True
    assert check(answer, gold).equivalent is True


@pytest.mark.parametrize(("gold", "answer"), UNDECIDED)
def test_what_the_tiers_cannot_tell_is_undecided(gold: str, answer: str) -> None:
    assert check(gold, answer).equivalent is None
    assert check(answer, gold).decided_by == "undecided"


@pytest.mark.parametrize(("gold", "answer"), MALFORMED)
def test_broken_numbers_are_wrong_and_say_so(gold: str, answer: str) -> None:
    assert check(gold, answer) == check(answer, gold) == Check(False, "malformed")


@pytest.mark.parametrize(("gold", "answer"), [("7", r"\approx 7.01"), ("16", "0.6666..."), ("24", "10+John's age")])
def test_what_is_near_another_number_is_wrong(gold: str, answer: str) -> None:
    assert check(gold, answer).equivalent is check(answer, gold).equivalent is False


@pytest.mark.parametrize("answer", HOSTILE)
def test_hostile_answers_are_never_right_and_cost_no_time(answer: str) -> None:
    started = time.process_time()
    for gold in ("3", r"\frac{1}{2}", "(1,2)", "x^2", "Friday"):
        expected = answer == "\u200b3" and gold == "3"
        assert (check(gold, answer).equivalent is True) is expected
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    ("gold", "answer", "tier"),
    [
        ("12", "12", "string"),
        ("12", "12.0", "rational"),
        ("(1,2)", "(1,3)", "structure"),
        ("2x", "x+x", "algebra"),
        ("D", "option D", "choice"),
        ("(x+1)^{500}", "(x+1)^{500}+1", "modular"),
        (r"\ln 4", r"2\ln 2", "numeric"),
        (r"y=\ln 4", r"2\ln 2", "numeric"),
        ("3", "3" * 401, "too_long"),
        ("3", "(" * 65 + "3" + ")" * 65, "too_long"),
    ],
)
def test_the_deciding_tier_is_named(gold: str, answer: str, tier: str) -> None:
    assert check(gold, answer).decided_by == tier


def test_tolerance_reaches_irrational_numbers() -> None:
    assert check(r"\pi", "3.1416").equivalent is False
    assert check(r"\pi", "3.1416", tolerance=1e-4).equivalent is True
    assert check(r"\ln 2", "0.69", tolerance=1e-4).equivalent is False


def test_tolerance_is_relative_and_off_by_default() -> None:
    assert check("1/3", "0.3333").equivalent is False
    assert check("1/3", "0.3333", tolerance=1e-3).equivalent is True
    assert check("1000000", "1000500", tolerance=1e-3).equivalent is True
    assert check("0.001", "0.0015", tolerance=1e-3).equivalent is False
    assert check("0", "0.0000001", tolerance=1e-3).equivalent is False


def test_text_golds_compare_whole_strings_and_decide() -> None:
    assert check("February 3rd", "february 3rd.", kind="text").equivalent is True
    assert check("February 3rd", "March 3rd", kind="text").equivalent is False
    assert check("They are equal", "equal", kind="text").equivalent is False
    assert check("seven", "7", kind="text").equivalent is True


ANSWER_PIECES = st.sampled_from(
    ["1", "2", "0.5", "x", "y", "-", "+", "/", "^", "(", ")", ",", " ", "=", r"\frac{1}{2}", r"\sqrt{2}", r"\pi",
    "%", "<", "[", "]",
     r"\{", r"\}", "{", "}", "_", ":", "and", "or", " cm", "$", r"\pm", "!", r"\cup", r"\infty", r"\le", "A", "(B)",
     "seven", "1,000", "."]
)  # fmt: skip
ANSWERS = st.one_of(st.text(max_size=40), st.lists(ANSWER_PIECES, max_size=9).map("".join))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(ANSWERS, ANSWERS)
def test_check_is_total_and_symmetric(first: str, second: str) -> None:
    one, other = check(first, second), check(second, first)
    assert one.equivalent == other.equivalent
    assert (one.equivalent is None) == (one.decided_by == "undecided")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(ANSWERS)
def test_an_answer_is_never_different_from_itself(answer: str) -> None:
    result = check(answer, answer)
    # An empty answer and an over-long one are never accepted; anything else equals itself.
    assert result.equivalent is True or result.decided_by in ("too_long", "string", "choice")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.fractions(), st.fractions())
def test_rational_numbers_are_compared_exactly(first, second) -> None:
    left = f"\\frac{{{first.numerator}}}{{{first.denominator}}}"
    assert check(left, f"{second.numerator}/{second.denominator}").equivalent is (first == second)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.integers(-50, 50), min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_lists_are_unordered_and_tuples_are_ordered(numbers: list[int], rng) -> None:
    shuffled = numbers[:]
    rng.shuffle(shuffled)
    assert check(", ".join(map(str, numbers)), ", ".join(map(str, shuffled))).equivalent is True
    ordered = check(f"({', '.join(map(str, numbers))})", f"({', '.join(map(str, shuffled))})")
    assert ordered.equivalent is (numbers == shuffled)


def test_a_checker_remembers_up_to_its_size_and_says_the_same_from_memory() -> None:
    checker = Checker(cache_size=2)
    pairs = [("1/2", "0.5"), ("2", "3"), (r"\ln 4", r"2\ln 2")]
    first = [checker.check(*pair) for pair in pairs]
    assert len(checker._verdicts) == 2
    assert [checker.check(*pair) for pair in pairs] == first
    assert checker.check("1/3", "0.3333") == check("1/3", "0.3333")
    assert checker.check("1/3", "0.3333", tolerance=1e-3).equivalent is True
    checker.clear()
    assert not checker._verdicts
    assert Checker(cache_size=0).check("1/2", "0.5").equivalent is True


def test_a_checker_is_safe_in_threads() -> None:
    checker = Checker(cache_size=8)
    pairs = [(str(number), str(number % 7)) for number in range(40)] * 5
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda pair: checker.check(*pair).equivalent, pairs))
    assert found == [gold == answer for gold, answer in pairs]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"The answer is $\boxed{4}$.", "4"), ("Answer: 9", "9"), (r"Answer \( (9+1) \)", "10"), ("= 5", "5"),
        ("Thus $x <= 2$ is our answer.", r"x\le 2"), (r"We find that $x \neq 3$.", r"x\ne 3"), ("答案：24", "24"),
        ("**Final answer:** 12", "12"), (r"so \boxed{1}, then \boxed{2}", "2"),
        ("First, some long text about apples and pears, which goes on for more than one sentence. It ends here. "
         "The final answer is $7$. I hope it is correct.", "7"),
    ],
)  # fmt: skip
def test_an_answer_as_a_person_would_paste_it(text: str, answer: str) -> None:
    assert check(answer, text).equivalent is True
    assert check(text, answer).equivalent is True


INNER = [
    lambda text: text,
    lambda text: text.replace(r"\frac", r"\dfrac"),
    lambda text: text.replace(r"\frac", r"\tfrac"),
    lambda text: text.replace("(", r"\left(").replace(")", r"\right)"),
    lambda text: text.replace("+", " + ").replace(",", " , "),
    lambda text: rf"\displaystyle {text}",
    lambda text: text.replace("=", r"\,=\,"),
]
OUTER = [
    lambda text: text,
    lambda text: f"${text}$",
    lambda text: f"$${text}$$",
    lambda text: rf"\( {text} \)",
    lambda text: rf"\[ {text} \]",
    lambda text: rf"\boxed{{{text}}}",
    lambda text: f"**{text}**",
    lambda text: f"The answer is ${text}$",
    lambda text: f"  {text}  ",
]
ENDS = ["", ".", " ", "\n"]
NUMBERS = st.one_of(
    st.integers(-9999, 9999).map(str),
    st.tuples(st.integers(1, 99), st.integers(2, 99)).map(lambda pair: rf"\frac{{{pair[0]}}}{{{pair[1]}}}"),
    st.integers(2, 99).map(lambda number: rf"\sqrt{{{number}}}"),
    st.integers(1, 9).map(lambda number: rf"{number}\pi"),
    st.integers(1, 9).map(lambda number: rf"\ln {number}+1"),
)
STRUCTURES = st.one_of(
    NUMBERS,
    st.tuples(NUMBERS, NUMBERS).map(lambda pair: f"({pair[0]},{pair[1]})"),
    st.tuples(NUMBERS, NUMBERS).map(lambda pair: rf"\{{{pair[0]},{pair[1]}\}}"),
    NUMBERS.map(lambda number: f"x={number}"),
    NUMBERS.map(lambda number: f"x^2+{number}"),
    st.tuples(st.integers(0, 9), st.integers(10, 20)).map(lambda pair: f"({pair[0]},{pair[1]})"),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(STRUCTURES, st.sampled_from(INNER), st.sampled_from(OUTER), st.sampled_from(ENDS))
def test_restyling_does_not_change_an_answer(answer: str, inner, outer, end: str) -> None:
    styled = outer(inner(answer)) + end
    assert check(answer, styled).equivalent is True
    assert check(styled, answer).equivalent is True


@settings(max_examples=200, deadline=None, derandomize=True)
@given(STRUCTURES, STRUCTURES, st.sampled_from(INNER), st.sampled_from(OUTER))
def test_restyling_does_not_change_a_verdict(gold: str, answer: str, inner, outer) -> None:
    assert check(gold, answer).equivalent is check(gold, outer(inner(answer))).equivalent


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1, 10**9), st.sampled_from(["cm", "apples", "dollars", r"\text{ km}", "square meters", "hours"]))
def test_thousands_and_units_do_not_change_a_number(number: int, unit: str) -> None:
    assert check(str(number), f"{number:,}").equivalent is True
    assert check(str(number), f"{number:,} {unit}").equivalent is True
    assert check(f"{number} {unit}", f"{number + 1} {unit}").equivalent is False


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=300), st.binary(max_size=60))
def test_check_is_total_on_random_bytes(first: bytes, second: bytes) -> None:
    one, other = (text.decode("utf-8", errors="surrogateescape") for text in (first, second))
    assert check(one, other).equivalent is check(other, one).equivalent
