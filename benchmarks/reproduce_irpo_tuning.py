"""Tuning and one-variable experiments behind `reproduce_iterative_rpo.py`, on dev problems.

`--grid` gives every method the same grid (learning rate x updates, two seeds), preference losses a second time with
another `--beta`. `--losses` turns STaR into Iterative RPO by the weights of the loss's terms alone. `--factors` changes
the data, one variable at a time, under STaR and one iteration of Iterative RPO at their tuned settings; its length
experiment alone looks at other problems (`test_steps`), and nothing is chosen by it. Rows are appended to
`results/reproduce_iterative_rpo_tuning.jsonl`; what is there already is not run again.

    python benchmarks/reproduce_irpo_tuning.py --grid                       # about 10 minutes on one core
    python benchmarks/reproduce_irpo_tuning.py --grid irpo dpo --beta 1     # about 6
    python benchmarks/reproduce_irpo_tuning.py --losses --factors           # about 4 and 8
    python benchmarks/reproduce_irpo_tuning.py --small-model FOLDER         # about 2; see primer.build --size
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tutelage.cli.threads import configure_threads

configure_threads()  # before torch is imported

from cells import append_row, read_rows  # noqa: E402
from reproduce_irpo_plan import PAPER_BETA as AT_PAPER_BETA  # noqa: E402
from reproduce_irpo_plan import SMALL, TUNED, WORLDS  # noqa: E402
from reproduce_lab import Lab, Learning, Practice, World, open_lab, practice_facts, timed  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "reproduce_iterative_rpo_tuning.jsonl"
SEEDS = (7, 8)
RATES = (3e-5, 1e-4, 3e-4, 1e-3)
UPDATES = (30, 120)
PAPER_BETA = 0.1
LOSS_OF = {"sft-gold": "gold", "star": "sft", "dpo": "dpo", "irpo": "dpo_nll"}
FROM_STAR = {"dpo-from-star": "dpo", "irpo-from-star": "dpo_nll"}


@dataclass(frozen=True)
class Trial:
    """One training and one measurement.

    Args:
        experiment: "grid", or the variable that is changed.
        setting: its value, in words.
        method: what is trained.
        world: what is fixed; dev problems.
        how: loss and hyperparameters.
        seed: of everything random.
    """

    experiment: str
    setting: str
    method: str
    world: World
    how: Learning
    seed: int

    @property
    def key(self) -> str:
        """What tells this trial from the others."""
        how = f"{self.how.learning_rate:g}x{self.how.updates}"
        return f"{self.experiment}/{self.setting}/{self.method}/{how}/{self.seed}"


def tuning_world(name: str) -> World:
    """The study's world, measured greedily on 500 dev problems."""
    return replace(WORLDS[name], eval_data="dev", num_greedy=500, num_votes=0)


def grid(world: str, methods: list[str], beta: float) -> Iterator[Trial]:
    """The same grid for every method; `beta` is nothing to those without a preference term."""
    losses, setting = LOSS_OF | FROM_STAR, world if beta == PAPER_BETA else f"{world}, beta {beta:g}"
    for method in methods:
        for seed in SEEDS:
            for rate in RATES:
                for updates in UPDATES:
                    how = Learning(losses[method], rate, updates, beta=beta)
                    yield Trial("grid", setting, method, tuning_world(world), how, seed)


def factors() -> Iterator[Trial]:
    """STaR against Iterative RPO (one iteration), one variable changed at a time."""
    plain = tuning_world("primer")
    changed: list[tuple[str, str, World]] = [
        ("problems", "30", replace(plain, num_train=30)),
        ("problems", "150", replace(plain, num_train=150)),
        ("problems", "400", replace(plain, num_train=400)),
        ("samples", "4", replace(plain, num_samples=4)),
        ("samples", "64", replace(plain, num_samples=64)),
        ("temperature", "1.3", replace(plain, temperatures=(1.3,))),
        ("gold", "always", replace(plain, gold="always")),
        ("length", "5-6 steps", replace(plain, eval_data="test_steps")),
    ]
    for experiment, setting, world in changed:
        for method in ("star", "irpo"):
            for seed in SEEDS:
                yield Trial(experiment, setting, method, world, TUNED["primer"][method], seed)


def model_size(folder: Path) -> Iterator[Trial]:
    """STaR against Iterative RPO at their tuned settings, and at the paper's beta, from a smaller model."""
    # Rows name the model by what it is; where its folder lies is nobody's business.
    world = replace(tuning_world("primer"), model=str(folder))
    tuned = TUNED["primer"]
    settings = [("star", tuned["star"]), ("irpo", tuned["irpo"]), ("irpo", AT_PAPER_BETA), ("irpo", SMALL)]
    for method, how in [*settings, ("star", replace(SMALL, loss="sft"))]:
        for seed in SEEDS:
            yield Trial("model", f"0.17 M parameters, beta {how.beta:g}", method, world, how, seed)


def losses() -> Iterator[Trial]:
    """Iterative RPO with STaR's learning rate and updates, only the weights of its two terms changed.

    `beta` sets at which margin the preference term lets go (about 4 / beta nats), `alpha` weighs the NLL.
    """
    plain, how = tuning_world("primer"), replace(TUNED["primer"]["star"], loss="dpo_nll")
    for seed in SEEDS:
        for beta in (0.1, 1.0, 0.3, 3.0, 0.03):
            yield Trial("beta", f"{beta:g}", "irpo", plain, replace(how, beta=beta), seed)
        for alpha in (4.0, 16.0):
            yield Trial("alpha", f"{alpha:g}", "irpo", plain, replace(how, alpha=alpha), seed)
        yield Trial("beta", "1", "dpo", plain, replace(how, loss="dpo", beta=1.0), seed)


class Labs:
    """One open lab at a time, with the first model's practice in it."""

    def __init__(self) -> None:
        self._key: tuple[World, int] | None = None
        self._context: Any = None
        self.lab: Lab | None = None
        self.practice: Practice | None = None
        self.star: Any = None

    def at(self, world: World, seed: int) -> tuple[Lab, Practice]:
        """The lab of a world and seed, and the samples of its first model."""
        if self._key != (world, seed) or self.lab is None or self.practice is None:
            self.close()
            self._key, self._context = (world, seed), open_lab(world, seed)
            self.lab, self.star = self._context.__enter__(), None
            self.practice = self.lab.practise(self.lab.base, 1)
        return self.lab, self.practice

    def close(self) -> None:
        """Close the lab that is open, if any."""
        if self._context is not None:
            self._context.__exit__(None, None, None)
        self._context = None


def run_trial(labs: Labs, trial: Trial) -> dict[str, Any]:
    """The row of a trial."""
    lab, practice = labs.at(trial.world, trial.seed)
    began, start = time.process_time(), lab.base
    if trial.method in FROM_STAR:
        if labs.star is None:
            labs.star, _ = lab.learn(TUNED[trial.world.name]["star"], lab.base, practice.pairing.pairs)
        start = labs.star
    weights, facts = lab.learn(trial.how, start, practice.pairing.pairs, curves=trial.experiment in ("alpha", "beta"))
    greedy = lab.measure(weights, votes=False)["greedy"]
    row = {"key": trial.key, "experiment": trial.experiment, "setting": trial.setting, "method": trial.method,
           "seed": trial.seed, "how": asdict(trial.how),
           "world": asdict(trial.world) | {"model": Path(trial.world.model).name}}  # fmt: skip
    facts["curves"] = {name: curve[-1] for name, curve in facts.get("curves", {}).items() if curve}
    row |= {"accuracy": greedy["accuracy"], "solved": greedy["solved"], "errors": greedy["errors"], **facts}
    return row | {"practice": practice_facts(lab, practice), "cpu_seconds": timed(began)}


def main() -> None:
    """Run what is asked for and is not in the results file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--grid", nargs="*", metavar="METHOD", help="methods; none given: the four that start at M_0")
    parser.add_argument("--world", default="primer", choices=list(WORLDS))
    parser.add_argument("--beta", type=float, default=PAPER_BETA, help="of the grid's preference losses")
    parser.add_argument("--factors", action="store_true")
    parser.add_argument("--losses", action="store_true")
    parser.add_argument("--small-model", type=Path, metavar="FOLDER", help="a smaller sibling of the built-in model")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    trials: list[Trial] = []
    if options.grid is not None:
        trials += grid(options.world, options.grid or list(LOSS_OF), options.beta)
    trials += factors() if options.factors else ()
    trials += losses() if options.losses else ()
    trials += model_size(options.small_model) if options.small_model else ()
    done, labs = {row["key"] for row in read_rows(options.results)}, Labs()
    for trial in trials:
        if trial.key in done:
            continue
        row = run_trial(labs, trial)
        append_row(options.results, row)
        print(f"{trial.key}: {row['accuracy']:.3f} ({row['cpu_seconds']} s)", flush=True)
    labs.close()


if __name__ == "__main__":
    main()
