r"""The symbolic tier: what sympy proves, what it may not say, and that no answer can hang, forge or break it."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tutelage.errors import MissingExtra, SandboxUnavailable
from tutelage.grading import symbolic
from tutelage.grading.batching import CPU_EXIT, WALL_EXIT
from tutelage.grading.symbolic import Pair, SymbolicTier, is_comparable, is_tame
from tutelage.grading.tiered import Grader
from tutelage.records import Completion, Policy, Problem, SamplingParams
from tutelage.sandbox.protocol import Execution, Limits

SOURCE = Path(symbolic.__file__).parent
PROVED = [
    (r"\sqrt{2}", r"\max(1,\sqrt2)"), (r"x^{1/3}", r"\sqrt[3]{x}"), ("(2x)!", "2x(2x-1)!"),
    (r"(x^{1/3}, 1)", r"(\sqrt[3]{x}, 1)"), (r"\{1, x^{1/3}\}", r"\{\sqrt[3]{x}, 1\}"),
    (r"y = x^{1/3}", r"\sqrt[3]{x}"),
]  # fmt: skip
HOSTILE = [
    "__import__('os').system('touch {marker}')",
    "().__class__.__base__.__subclasses__()",
    "exec(\"open('{marker}','w')\")",
    "open('{marker}','w').write('x')",
    "Symbol('x').__class__.__init__.__globals__",
    "lambda: 1",
    "x.func.__globals__['os'].system('touch {marker}')",
    r"\text{{__import__('os').system('touch {marker}')}}",
    r"{{x}}_{{__import__('os')}}",
    "9^9^9^9", "10^{{10^{{10}}}}", "(10^9)!", "((10!)!)!", r"\binom{{10000000}}{{5000000}}",
    "2^{{2^{{2^{{2^{{2^2}}}}}}}}",
    r"\sum_{{k=1}}^{{10^7}}\frac{{1}}{{k^3+k}}", r"\prod_{{k=1}}^{{10^6}} k", r"\int_0^{{12}}1\,dx",
    "(" * 60 + "x" + ")" * 60, "(" * 2000, r"\frac{{1}}{{1+" * 60 + "x" + "}}" * 60, "+".join(["1"] * 190),
    "*".join(f"(x+{n})" for n in range(30)), r"\sin(" * 40 + "x" + ")" * 40, "x^{{x^{{x^{{x^{{x^x}}}}}}}}",
    r"\det\begin{{pmatrix}}" + r"\\".join("&".join("abcdefgh") for _ in range(8)) + r"\end{{pmatrix}}",
    "1" * 399, r"\sqrt[1000000007]{{2^{{1000}}+1}}", r"\log_2(2^{{2^{{40}}}}+1)", r"\gcd(10^{{10^7}}+1,10^7)",
    '{{"tag": "x", "value": true, "seconds": 0}}', "\x00\n\r", "True", "sympy.true", "None",
]  # fmt: skip


class Scripted:
    """A jail whose children end as they are told to, after their first line."""

    def __init__(self, *endings: Execution, phase: str = "answer") -> None:
        self.endings, self.phase, self.calls = list(endings), phase, 0

    def call(self, entry: str, payload: bytes, limits: Limits) -> Execution:
        import json

        self.calls += 1
        assert entry == symbolic.ENTRY
        lines = [json.loads(line) for line in payload.splitlines()[1:]]
        ending = self.endings.pop(0) if self.endings else Execution("ok")
        if ending.status == "ok":
            text = "".join(json.dumps({"tag": line["tag"], "value": True, "seconds": 0.1}) + "\n" for line in lines)
        else:
            text = json.dumps({"tag": lines[0]["tag"], "phase": self.phase}) + "\n"
        return Execution(**{**ending.to_json(), "stdout": text})


OUT_OF_TIME = Execution("error", exit_code=CPU_EXIT)
OUT_OF_WALL_TIME = Execution("error", exit_code=WALL_EXIT, cpu_seconds=1.25)
PAIRS = [Pair(*pair) for pair in PROVED[:3]]
PATIENT = replace(symbolic.PAIR_LIMITS, wall_seconds=300.0)
"""Limits with which CPU time decides, however busy the machine is."""


@pytest.mark.parametrize(
    ("ending", "phase", "found"),
    [
        (OUT_OF_TIME, "answer", "timeout"),
        (OUT_OF_TIME, "gold", "undecided"),
        (OUT_OF_TIME, "both", "undecided"),
        (OUT_OF_WALL_TIME, "answer", "undecided"),  # the machine's doing: CPU time was left
        (Execution("timeout", signal=9, cpu_seconds=0.5), "answer", "undecided"),
        (Execution("memory", exit_code=72), "answer", "timeout"),
        (Execution("crash", signal=11), "answer", "timeout"),
        (Execution("sandbox_error"), "answer", "error"),
    ],
)
def test_a_death_is_the_answers_own_doing_only_where_the_answer_is_at_work(
    ending: Execution, phase: str, found: str
) -> None:
    tier = SymbolicTier(jail=Scripted(*[ending] * 4, phase=phase))
    assert tier.judge(PAIRS[:1])[0].found == found


def test_a_pair_that_ran_out_of_wall_time_has_its_seconds_of_cpu() -> None:
    finding = SymbolicTier(jail=Scripted(*[OUT_OF_WALL_TIME] * 2)).judge(PAIRS[:1])[0]
    assert (finding.seconds, finding.note) == (1.25, "it ran out of wall time")


def test_findings_are_kept_but_for_failures_of_ours_and_a_pair_is_asked_once() -> None:
    jail = Scripted(Execution("ok"), *[Execution("sandbox_error")] * 3)
    tier = SymbolicTier(jail=jail, cache_size=2)
    assert [finding.found for finding in tier.judge([*PAIRS[:2], *PAIRS[:2]])] == ["equal"] * 4
    assert jail.calls == 1 and tier.judge(PAIRS[:2])[0].found == "equal" and jail.calls == 1
    assert tier.judge(PAIRS[2:])[0].found == "error"
    assert tier.judge(PAIRS[2:])[0].found == "equal"
    assert len(tier._cache) == 2


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        (("x", "y+1"), True), (("1,x", "2,y"), True), (("x", "1,2"), False), (("red", "blue"), False),
        (("x", "__import__('os')"), False), (("10^{10^{10}}", "9^{9^{9^9}}"), False), (("x=1", "1"), True),
    ],
)  # fmt: skip
def test_only_expressions_and_what_holds_them_are_sent(pair: tuple[str, str], expected: bool) -> None:
    assert is_comparable(Pair(*pair)) is expected


@pytest.mark.parametrize(
    "answer", [r"\frac{1}{2}", "x_1 + 3.5", r"\sqrt[3]{x}", "50\\%", "(1, 2]", r"\left(\pi\right)"]
)
def test_school_notation_is_tame(answer: str) -> None:
    assert is_tame(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "x.func", "'x'", '"x"', "a__b", "exec(chr(49)+chr(50))", "eval(x)", "open(x)", "lambda_x:open", "x@y", "`ls`",
        "x\x00", "#",
    ],
)  # fmt: skip
def test_anything_else_gets_a_child_of_its_own(answer: str) -> None:
    assert not is_tame(answer)


def test_no_module_of_ours_hands_text_to_a_reader_that_runs_code() -> None:
    banned = {"sympify", "parse_expr", "eval", "exec", "compile", "S", "N", "loads_pickle", "Unpickler"}
    for path in SOURCE.glob("*.py"):
        tree = ast.parse(path.read_text())
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names |= {
            node.attr for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and not ast.unparse(node).startswith("re.")
        }  # fmt: skip
        assert not names & banned, path.name
        imported = {
            name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in [a.name for a in node.names]
        }
        assert not imported & {"pickle", "marshal", "dill"}, path.name
        if "_entry" not in path.name:
            assert not imported & {"sympy", "math_verify"}, path.name


def test_without_sympy_the_tier_is_absent_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    grader = Grader()
    verdicts = [grader.check(*pair) for pair in PROVED[:3]]
    assert [verdict.outcome for verdict in verdicts] == ["undecided"] * 3
    assert "sympy" in (grader.absence() or "") and grader.absence() is None
    assert grader.outcomes["undecided"] == 3
    assert grader.warnings() == ["3 of 3 answers (100.0%) could not be graded and have no score"]
    with pytest.raises(MissingExtra, match="sympy"):
        Grader(symbolic="on")


# --- in sympy itself -------------------------------------------------------------------------------------------------


def judge(gold: str, answer: str, tolerance: float | None = None) -> tuple[bool | None, list[str]]:
    pytest.importorskip("sympy")
    from tutelage.grading.symbolic_entry import Comparison
    from tutelage.text.answers import read_answer

    phases: list[str] = []
    comparison = Comparison(
        tolerance if tolerance is None else __import__("fractions").Fraction(tolerance), phases.append
    )
    first, second = read_answer(gold), read_answer(answer)
    scalars = [getattr(value, "value", None) for value in (first, second)]
    if type(first).__name__ == type(second).__name__ == "Scalar" and None in scalars:
        return comparison._scalars(first, second), phases  # type: ignore[arg-type]
    return comparison.values(first, second, comparison.tolerance), phases


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        *((gold, answer, True) for gold, answer in PROVED),
        (r"\cos^2 x", r"1-\sin^2 x", True),
        (r"-\sqrt{3}", r"-\tan(4\pi/9)+4\cos(\pi/18)", True),
        ("40", r"2\sqrt{141-20\sqrt{41}}+2\sqrt{20\sqrt{41}+141}", True),
        (r"\log_2 3", r"\frac{\ln 3}{\ln 2}", True),
        (r"\log 100", r"2\log 10", True),
        (r"\log 100", "2", None),  # natural or decimal: not said
        (r"\cot x", r"\tan x", False),
        (r"\sqrt{2}", "1.41421356237", False),
        (r"\frac{1}{3^{80}}+\pi", r"\frac{1}{3^{81}}+\pi", None),  # 50 digits do not tell, and no proof says equal
        (r"(-1)^n", r"\cos(n\pi)", None),  # at integers only
        (r"\frac12\ln(x^2)", r"\ln x", None),
        (r"\nabla x", "x", None),
    ],
)
def test_what_sympy_is_asked(gold: str, answer: str, expected: bool | None) -> None:
    if (gold, answer) == (r"\frac{1}{3^{80}}+\pi", r"\frac{1}{3^{81}}+\pi"):
        assert judge(gold, answer)[0] is not True
        return
    assert judge(gold, answer)[0] is expected
    assert judge(answer, gold)[0] is expected


def test_phases_name_the_side_at_work() -> None:
    assert judge(r"\cos^2 x", r"1-\sin^2 x")[1] == ["gold", "answer", "both"]
    assert judge(r"\cot x", r"\tan x")[1] == ["gold", "answer"]


def test_a_tolerance_counts_for_constants() -> None:
    assert judge(r"\sqrt{2}", r"\frac{\pi}{2.2214}", 0.001)[0] is True
    assert judge(r"\sqrt{2}", r"\frac{\pi}{2.25}", 0.001)[0] is False


# --- in the sandbox --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tier() -> Iterator[SymbolicTier]:
    opened = SymbolicTier(workers=2)
    try:
        opened.open()
    except (MissingExtra, SandboxUnavailable) as error:
        pytest.skip(f"no symbolic tier here: {error}")
    yield opened
    opened.close()


def test_the_grader_asks_it_for_what_its_tiers_leave_undecided(tier: SymbolicTier) -> None:
    grader = Grader(tier=tier)
    verdicts = [grader.check(gold, answer) for gold, answer in PROVED]
    assert [(v.outcome, v.decided_by, v.answer) for v in verdicts] == [("correct", "symbolic", a) for _, a in PROVED]
    assert grader.tiers["symbolic"] == len(PROVED) and grader.warnings() == []
    problem = Problem("p", "?", r"x^{1/3}", "latex")
    verdict = grader.grade_texts([(problem, r"so \boxed{\sqrt[3]{x}}.", "stop")])[0]
    assert (verdict.outcome, verdict.method, verdict.span) == ("correct", "boxed", (10, 21))


def test_one_hanging_answer_costs_only_itself(tier: SymbolicTier) -> None:
    hang = Pair(r"x^{1/3}", r"\max(1,\sin(10^{10^{10}}))")
    began = time.process_time()
    findings = SymbolicTier(jail=tier._jail, limits=PATIENT).judge(
        [Pair(*PROVED[0]), hang, Pair(*PROVED[1]), Pair(*PROVED[2])]
    )
    assert [finding.found for finding in findings] == ["equal", "timeout", "equal", "equal"]
    assert findings[1].seconds == symbolic.PAIR_LIMITS.cpu_seconds
    assert time.process_time() - began < 1.0


@pytest.mark.slow
@pytest.mark.parametrize("answer", HOSTILE)
def test_hostile_answers_do_nothing(tier: SymbolicTier, tmp_path: Path, answer: str) -> None:
    marker = tmp_path / "marker"
    grader, text = Grader(tier=tier), answer.format(marker=marker)
    began = time.process_time()
    for gold in (r"x^{1/3}", "12"):
        verdict = grader.check(gold, text)
        assert verdict.outcome not in ("correct", "error"), verdict
        assert verdict.seconds < 5
    assert time.process_time() - began < 3
    assert not marker.exists()
    tier._cache.clear()
    assert grader.check(*PROVED[1]).outcome == "correct"
    assert grader.check("12", "13").outcome == "incorrect"


def test_threads_share_it(tier: SymbolicTier) -> None:
    tier._cache.clear()
    grader, found = Grader(tier=tier), {}

    def work(place: int) -> None:
        found[place] = grader.check(*PROVED[place % len(PROVED)]).outcome

    threads = [threading.Thread(target=work, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(8), "correct")


def completion(text: str) -> Completion:
    return Completion("c", "p", "answer", Policy("m"), "", (), (), text, (), (), "stop", SamplingParams(), 0)


def test_an_event_loop_goes_on_while_it_works(tier: SymbolicTier) -> None:
    patient = SymbolicTier(jail=tier._jail, limits=PATIENT)
    grader, problem = Grader(tier=patient), Problem("p", "?", r"x^{1/3}", "latex")
    hang = completion(r"\boxed{\max(2,\sin(10^{10^{10}}))}")
    beats = [0]

    async def beat() -> None:
        while True:
            await asyncio.sleep(0.01)
            beats[0] += 1

    async def both() -> list[Any]:
        task = asyncio.create_task(beat())
        verdicts = await grader.grade_many_async([(problem, hang), (problem, completion(r"\boxed{\sqrt[3]{x}}"))])
        task.cancel()
        return verdicts

    assert [verdict.outcome for verdict in asyncio.run(both())] == ["timeout", "correct"]
    assert beats[0] > 20


def test_a_grader_that_is_pickled_opens_its_own(tier: SymbolicTier) -> None:
    copy = pickle.loads(pickle.dumps(Grader(tier=tier)))
    assert copy.tier.workers == 2 and copy.tier is not tier
    assert copy.check("1/2", "0.5").outcome == "correct"


@pytest.mark.slow
def test_a_spawned_pool_grades(tier: SymbolicTier) -> None:
    from tutelage.grading import grade

    rows = [("1/2", r"\boxed{0.5}"), *((gold, rf"\boxed{{{answer}}}") for gold, answer in PROVED[:3])]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        verdicts = pool.starmap(grade, rows)
    assert [verdict.outcome for verdict in verdicts] == ["correct"] * 4


@pytest.mark.slow
def test_a_forked_process_opens_its_own(tier: SymbolicTier) -> None:
    read_end, write_end = os.pipe()
    tier._cache.clear()
    if (child := os.fork()) == 0:
        finding = tier.judge([Pair(*PROVED[1])])[0].found
        tier.close()
        os.write(write_end, finding.encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        assert pipe.read() == "equal"
    os.waitpid(child, 0)
    assert tier.judge([Pair(*PROVED[1])])[0].found == "equal"


@pytest.mark.slow
def test_kill_9_of_workers_in_mid_batch_loses_and_doubles_nothing() -> None:
    if importlib.util.find_spec("sympy") is None:
        pytest.skip("no sympy")
    tier = SymbolicTier(workers=2)
    try:
        tier.open()
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    pairs = [Pair(f"x^{{1/3}}+{n}", rf"\sqrt[3]{{x}}+{n + n % 2}") for n in range(60)]
    stop, killed = threading.Event(), []

    def kill() -> None:
        while not stop.wait(0.15) and len(killed) < 6:
            for pid in _descendants(os.getpid()):
                if b"zygote" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
                    break

    thread = threading.Thread(target=kill)
    thread.start()
    findings = tier.judge(pairs)
    stop.set()
    thread.join()
    tier.close()
    assert killed
    expected = ["equal" if n % 2 == 0 else "different" for n in range(60)]
    assert [finding.found for finding in findings] == expected


def _descendants(pid: int) -> list[int]:
    try:
        own = [
            int(word)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for word in (task / "children").read_text().split()
        ]
    except FileNotFoundError:
        return []
    return [*own, *(below for child in own for below in _descendants(child))]
