"""The plan of the critics study: sizes, seeds, settings; and where its critics lie.

Every training has the same number of updates whatever it learns from, so arms differ by their data alone. Sizes were
chosen by cost, D_0 after one run on dev, learning rates and updates without a search. Source of the findings:
arXiv 2411.16579.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tutelage.primer import sibling_path

SEEDS, PILOT_SEEDS = (0, 1, 2), (11, 12)
QUALITIES = ("exact", "noisy:0.1", "noisy:0.2", "noisy:0.3")
SIZES = ("tiny", "small", "primer")
SPLITS = {"easy": "", "hard": "_steps"}
"""Of the scaling cells: problems of one to four steps as in training, and of five and six, of which there are no dev
problems, so nothing is predicted there."""
PICTURE = {"test": (12, 1000), "dev": (4, 8)}
"""Of the picture of votes, by split: problems, and samples of each."""
WORK = Path(tempfile.gettempdir()) / "tutelage-reproduce-critique"


@dataclass(frozen=True)
class Scale:
    """How much is done.

    Args:
        split: problems measured on: `test` or `dev`.
        num_greedy, num_votes, num_judged, num_talk, num_sizes: how many of them, greedily, by vote, answers that
            critics judge, for self-talk, for each size of actor and critic.
        num_train, num_start: problems practised on; those of them that have a worked solution to begin with, D_0.
        num_samples, num_refinements, rounds: of the loop.
        sweep: further numbers of samples, for one round.
        qualities: annotations that critics learn from.
        num_critique, critique_samples, num_tests: problems of the critic's data, RG1 samples of each, refinements that
            test a critique (half of them must be right).
        ks: critique-refine triples, K; plain votes have 3K samples.
        talk_train: problems that self-talk learns from.
        levels: samples of a problem that its level of difficulty rests on.
        updates, learning_rate: of every actor; `critic_updates`, `critic_rate`: of every critic.
    """

    split: str = "test"
    num_greedy: int = 150
    num_votes: int = 80
    num_judged: int = 80
    num_talk: int = 80
    num_sizes: int = 60
    num_train: int = 24
    num_start: int = 3
    num_samples: int = 2
    num_refinements: int = 4
    rounds: int = 3
    sweep: tuple[int, ...] = (1, 4, 8)
    qualities: tuple[str, ...] = QUALITIES
    num_critique: int = 40
    critique_samples: int = 4
    num_tests: int = 4
    ks: tuple[int, ...] = (1, 2, 4)
    talk_train: int = 40
    levels: int = 100
    updates: int = 20
    learning_rate: float = 1e-3
    critic_updates: int = 40
    critic_rate: float = 3e-4


FULL = Scale()
PILOT = Scale(
    split="dev", num_greedy=80, num_votes=40, num_judged=40, num_talk=40, num_sizes=40,
    qualities=("exact", "noisy:0.3"), sweep=(8,), levels=10,
)  # fmt: skip
QUICK = Scale(
    split="dev", num_greedy=24, num_votes=8, num_judged=8, num_talk=8, num_sizes=8, num_train=8, num_start=3,
    rounds=2, sweep=(4,), qualities=("exact",), num_critique=8, critique_samples=2, num_tests=2, ks=(1, 2),
    talk_train=8, levels=4, updates=4, critic_updates=4,
)  # fmt: skip
COUNTS = sorted({*FULL.ks, *(3 * k for k in FULL.ks)})
"""Plain samples that answers at equal K and at equal cost take."""
SCALES = {"full": FULL, "pilot": PILOT, "quick": QUICK}


def shared(scale: Scale, seed: int, **changes: Any) -> dict[str, Any]:
    """Settings that all recipes of the study share; `data` are the training problems of this seed."""
    return {
        "model": "primer", "prompt": "primer", "device": "cpu", "dtype": "float32", "max_batch": 128, "seed": seed,
        "data": f"primer:train?n={scale.num_train}&seed={seed}", "max_new_tokens": 64, **changes,
    }  # fmt: skip


def learning(scale: Scale) -> dict[str, Any]:
    """How every actor is trained."""
    return {"learning_rate": scale.learning_rate, "max_steps": scale.updates, "epochs": 1000.0, "batch_size": 16}


def critic_learning(scale: Scale) -> dict[str, Any]:
    """How every critic is trained."""
    return {"learning_rate": scale.critic_rate, "max_steps": scale.critic_updates, "epochs": 1000.0, "batch_size": 16}


def measuring(scale: Scale, count: int, split: str = "") -> dict[str, Any]:
    """What a recipe is measured on.

    Args:
        split: ending of the split's name, e.g. `_steps`; such splits are for the last measurement only.
    """
    return {"eval_data": f"primer:{scale.split}{split}?n={count}", "eval_limit": count, "critic_tokens": 96}


def model_of(size: str) -> str:
    """The built-in model of a size."""
    return "primer" if size == "primer" else str(sibling_path(size, 0))


def sizes_there() -> tuple[str, ...]:
    """Sizes whose model lies on this machine; `python -m tutelage.primer.build --size SIZE` makes one."""
    return tuple(size for size in SIZES if size == "primer" or Path(model_of(size), "config.json").exists())


OWN = {
    "sweep": ("sweep",),
    "levels": ("critics", "rounds", "difficulty"),
    "ks": ("strategies",),
    "qualities": ("critics",),
}
"""Settings that only some kinds of cells read: changed, they leave the rows of the others as they are."""


def settings_of(scale: Scale, kind: str) -> dict[str, Any]:
    """The scale as far as a kind of cells reads it, as keys of rows hold it."""
    own = {name: value for name, value in asdict(scale).items() if kind in OWN.get(name, (kind,))}
    return own | ({"picture": PICTURE[scale.split]} if kind == "votes" else {})
