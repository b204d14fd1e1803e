r"""Grading speed: the pure tiers against math-verify, the slowest inputs, and memory over a million pairs.

Four workloads, each run by both in turn in this process, CPU seconds (parse gold, parse answer, compare):

- `gsm8k-bare`: extracted answers of four models' GSM8K completions against the golds;
- `gsm8k-completions`: the same with the whole completion, its last line `#### x`;
- `math-mix`: MATH test golds, each against itself, against itself in another style, and against another gold;
- `math-wrong`: each of these golds against another one that is not the same string.

math-verify gets bare answers in a box, which is how it reads them best, and its default timeouts. `ratio` compares both
on the same sample of pairs (`pairs_shared`), all our caches emptied before each round; `ours.cold_per_second` and
`ours.warm_per_second` are for all pairs, with empty caches and again right after. `undecided` are the pairs that are
left to the symbolic worker, which is no part of these figures.

`slowest-inputs` checks each hostile input on both sides of several golds and prints the largest CPU time. `--memory`
adds the resident memory after 10^5 and 10^6 distinct pairs (about four minutes).

    python benchmarks/grading.py --json                     # about one minute; needs math-verify (extra `math`)
    python benchmarks/grading.py --json --memory            # as committed in results/grading.jsonl
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from paired import in_turn, line, machine

from tutelage.grading.checker import Checker
from tutelage.text.extraction import extract

Pair = tuple[str, str]
GOLDS = ("3", r"\frac{1}{2}", "(1,2)", "x^2", "Friday", r"\sqrt{2}", "0.5", "(1,6]", "B")
HOSTILE = {
    "tower": "10^{10^{10}}",
    "plain tower": "9^9^9^9",
    "tower in a sum": "(9^9^9)+1",
    "factorial": "1000000!",
    "factorial of a power": "(10^9)!",
    "factorial of a factorial": "((10!)!)!",
    "binomial": r"\binom{10000000}{5000000}",
    "sum": r"\sum_{k=1}^{10^7} 1/(k^3+k)",
    "product": r"\prod_{k=1}^{10^6} (1+1/k)",
    "integral": r"\int_0^1 \frac{\ln(1+x)\arctan x}{x\sqrt{1+x^4}} dx",
    "200 brackets": "(" * 190 + "4" + ")" * 190,
    "63 brackets": "(" * 63 + "4" + ")" * 63,
    "nested fractions": r"\frac{1}{1+" * 33 + "1" + "}" * 33,
    "trigonometric sum": "+".join(rf"\sin({k}x)\cos({k}y)" for k in range(1, 21)),
    "trigonometric constants": "+".join(rf"\sin^{{{k}}}(\sqrt{{{k}}})" for k in range(2, 18)),
    "union of intervals": r"\cup".join(f"({2 * k},{2 * k + 1})" for k in range(40)),
    "many integers": ",".join(str(k) for k in range(110)),
    "many ones": "+".join("1" for _ in range(200)),
    "symbolic determinant": r"\begin{vmatrix}" + r"\\".join("&".join(f"a{i}{j}" for j in range(8)) for i in range(8)),
    "gcd": r"\gcd(10^{10^7}+1,10^{9999}+3)",
    "quintic": "x^5+x+1=0",
    "power tower": "2^{2^{2^{2^{2^2}}}}",
    "logarithm of a tower": r"\log_2(2^{2^{40}}+1)",
    "huge root": r"\sqrt[1000000007]{2^{1000000008}+1}",
    "unclosed displays": r"\[" * 199,
    "spaced digits": "1 " * 199,
    "boxes": r"\boxed{1}" * 44,
    "digits": "7" * 399,
    "many variables": "(a+b+c+d+e)^{500}",
    "dense powers": "(x+y+1)^{60}(x-y+1)^{60}",
    "long product": "".join(f"(x+{k})" for k in range(66)),
    "surds": "+".join(rf"\sqrt{{{p}}}" for p in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47)),
    "product of surds": "".join(rf"(1+\sqrt{{{p}}})" for p in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31)),
    "nested roots": r"\sqrt{2+" * 40 + "1" + "}" * 40,
    "nested exponentials": "e^{" * 60 + "x" + "}" * 60,
    "nested sines": r"\sin(" * 60 + "x" + ")" * 60,
    "small difference": r"\sin(1)+10^{-900}",
    "large angle": r"\sin(10^{1000})",
    "minus signs": "-" * 390 + "3",
    "primes": r"\sqrt{999999999989}+\sqrt{999999999961}",
    "large power": "1.0000001^{999999999}",
    "power of a fraction": r"(\frac{123456789}{987654321})^{1111}",
    "huge logarithm base": r"\log_{1000!}(10)",
    "absolute values": "|" * 199 + "x" + "|" * 199,
    "pipes": "|x" * 190,
    "repeating decimal": r"0.\overline{" + "1234567890" * 30 + "}",
}
TEXTS = {
    "100,000 spaced digits": "1 " * 100_000,
    "20,000 unclosed displays": r"\[" * 20_000,
    "20,000 boxes": r"\boxed{1} " * 20_000,
    "20,000 unclosed boxes": r"\boxed{" * 20_000,
    "50,000 markers": "the answer is " * 50_000,
    "a million digits": "7" * 1_000_000,
    "50,000 hashes": "#### " * 50_000,
    "20,000 thoughts": "<think></think>" * 20_000,
    "spaces before a marker": " " * 200_000 + "answer: 3",
    "stars": "*" * 200_000 + " final answer " + "*" * 200_000,
}


def main() -> None:
    """Run the workloads, print one JSON line each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON lines (the default prints the same)")
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--memory", action="store_true", help="also a million distinct pairs")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    pairs = _workloads(arguments.data)
    judge = _peer()
    for name, (ours, theirs, peers) in pairs.items():
        print(_compared(name, ours, theirs, judge, rounds=arguments.rounds, shared=peers), flush=True)
    print(json.dumps(_slowest()), flush=True)
    if arguments.memory:
        print(json.dumps(_memory()), flush=True)


def _workloads(data: Path) -> dict[str, tuple[list[Pair], list[Pair], int]]:
    """Per workload: our pairs, the same as math-verify gets them, and how many both run."""
    solutions, golds = data / "example_model_solutions" / "gsm8k_test.jsonl", data / "math" / "test.jsonl"
    for file in (solutions, golds):
        if not file.is_file():
            print(f"no {file}: name the folder of the data sets with --data (see its README)", file=sys.stderr)
            raise SystemExit(2)
    rows = list(_rows(solutions))
    whole = [(row["gold"], row["completion"].replace("\nA: ", "\n#### ")) for row in rows]
    bare = [(gold, answer) for gold, text in whole if (answer := extract(text, "number").answer)]
    answers = [row["answer"] for row in _rows(golds)][:2_000]
    rng = random.Random(0)
    wrong = [(gold, _other(gold, answers, rng)) for gold in answers]
    mix = [pair for gold, other in wrong for pair in ((gold, gold), (gold, _restyled(gold, rng)), (gold, other))]
    return {
        "gsm8k-bare": (bare, [_boxed(pair) for pair in bare], 1_000),
        "gsm8k-completions": (whole, whole, 1_000),
        "math-mix": (mix, [_boxed(pair) for pair in mix], 600),
        "math-wrong": (wrong, [_boxed(pair) for pair in wrong], 300),
    }


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _boxed(pair: Pair) -> Pair:
    gold, answer = pair
    return f"\\boxed{{{gold}}}", f"\\boxed{{{answer}}}"


def _other(gold: str, golds: list[str], rng: random.Random) -> str:
    while (other := rng.choice(golds)) == gold:
        pass
    return other


def _restyled(gold: str, rng: random.Random) -> str:
    styles: tuple[Callable[[str], str], ...] = (
        lambda text: text.replace(r"\frac", r"\dfrac"),
        lambda text: f"${text}$",
        lambda text: f" {text} .",
        lambda text: text.replace("(", r"\left(").replace(")", r"\right)"),
        lambda text: text.replace(",", " , ").replace("+", " + "),
    )
    return rng.choice(styles)(gold)


def _peer() -> Callable[[Pair], bool]:
    try:
        from math_verify import parse, verify
    except ImportError:
        print("math-verify is not installed: pip install 'tutelage[math]'", file=sys.stderr)
        raise SystemExit(2) from None

    def judge(pair: Pair) -> bool:
        gold, answer = pair
        return bool(verify(parse(gold), parse(answer)))

    return judge


def _compared(
    name: str, ours: list[Pair], theirs: list[Pair], judge: Callable[[Pair], bool], *, rounds: int, shared: int
) -> str:
    is_text = name == "gsm8k-completions"
    checker = Checker()
    chosen = random.Random(1).sample(range(len(ours)), min(shared, len(ours)))
    ours_shared, theirs_shared = [ours[i] for i in chosen], [theirs[i] for i in chosen]

    def cold() -> None:
        _forget(checker)
        _check_all(checker, ours_shared, is_text=is_text)

    mine, peers = in_turn(cold, lambda: [judge(pair) for pair in theirs_shared], rounds=rounds)
    _forget(checker)
    cold_seconds = _seconds(lambda: _check_all(checker, ours, is_text=is_text))
    warm_seconds = _seconds(lambda: _check_all(checker, ours, is_text=is_text))
    verdicts = _check_all(checker, ours, is_text=is_text)
    decided = [i for i in chosen if verdicts[i] is not None]
    agreed = sum(verdicts[i] is judge(theirs[i]) for i in decided)
    return line(
        name, [theirs_one / mine_one for mine_one, theirs_one in zip(mine, peers, strict=True)],
        ours={"cold_per_second": round(len(ours) / cold_seconds), "warm_per_second": round(len(ours) / warm_seconds)},
        peer={"name": "math-verify", "per_second": round(len(chosen) * len(peers) / sum(peers), 1)},
        pairs=len(ours), pairs_shared=len(chosen), undecided=verdicts.count(None),
        agreement_where_decided=[agreed, len(decided)],
    )  # fmt: skip


def _check_all(checker: Checker, pairs: list[Pair], *, is_text: bool) -> list[bool | None]:
    if not is_text:
        return [checker.check(gold, answer).equivalent for gold, answer in pairs]
    return [checker.check(gold, extract(text, "number").answer or "", kind="number").equivalent for gold, text in pairs]


def _forget(checker: Checker) -> None:
    """Empty every cache of ours, the readers' too."""
    checker.clear()
    for cache in _caches():
        cache.cache_clear()


@functools.lru_cache(maxsize=1)
def _caches() -> tuple[Any, ...]:
    return tuple(
        item
        for item in gc.get_objects()
        if isinstance(item, functools._lru_cache_wrapper) and str(item.__module__).startswith("tutelage")
    )


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _slowest() -> dict[str, Any]:
    """Largest CPU seconds of one check, over hostile answers and golds, and of one extraction."""
    checker = Checker(cache_size=0)
    seconds: dict[str, float] = {}
    wrong: list[str] = []
    for name, answer in HOSTILE.items():
        for gold in (*GOLDS, answer + "+1", f"({answer})/7"):
            for pair in ((gold, answer), (answer, gold)):
                spent = _seconds(functools.partial(checker.check, *pair))
                seconds[name] = max(seconds.get(name, 0.0), spent)
            if gold in GOLDS and checker.check(gold, answer):
                wrong.append(f"{gold[:40]} = {answer[:40]}")
    for name, text in TEXTS.items():
        seconds[f"extraction: {name}"] = _seconds(functools.partial(extract, text, "number", last_number=True))
    most = sorted(seconds.items(), key=lambda item: -item[1])[:8]
    return {
        "name": "slowest-inputs", "inputs": len(seconds), "max_cpu_seconds": round(most[0][1], 4),
        "slowest": {name: round(spent, 4) for name, spent in most}, "accepted": wrong, "machine": machine(),
    }  # fmt: skip


def _memory() -> dict[str, Any]:
    """Resident memory after 10^5 and 10^6 distinct pairs."""
    checker = Checker()
    rng = random.Random(2)
    marks: dict[str, int] = {}
    for count in range(1, 1_000_001):
        gold, answer = _made(rng)
        checker.check(gold, answer)
        if count in (100_000, 300_000, 1_000_000):
            gc.collect()
            marks[f"{count:,}"] = _resident()
    return {"name": "memory", "resident_mib": marks, "machine": machine()}


def _made(rng: random.Random) -> Pair:
    a, b, c = (rng.randrange(2, 10**6) for _ in range(3))
    forms = (
        (f"{a}", f"{b}"), (rf"\frac{{{a}}}{{{b}}}", f"{a}/{c}"), (f"({a},{b})", f"({b}, {a})"),
        (f"{a}x^2+{b}", f"{b}+{a}x^2"), (rf"\sqrt{{{a}}}", rf"\sqrt{{{b}}}"), (f"{a} cm", f"{a}"),
        (f"x={a}", f"y={a}"), (rf"{a}\pi", f"{b}"), (rf"\ln {a}", rf"\ln {b}"), (f"the {a}th day", f"day {b}"),
    )  # fmt: skip
    return rng.choice(forms)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


if __name__ == "__main__":
    main()
