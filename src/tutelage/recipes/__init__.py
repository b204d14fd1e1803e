"""The recipes: one file per method, each the loop of its paper over the same stages.

`RECIPES` names them without importing any; a recipe module has `Config` (a pydantic model) and
`run(config, bench) -> report`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RecipeInfo:
    """What is known of a recipe before it is imported: its name, module, one line, and the paper it follows."""

    name: str
    module: str
    summary: str
    paper: str


RECIPES: dict[str, RecipeInfo] = {
    info.name: info
    for info in (
        RecipeInfo(
            "iterative-rpo",
            "tutelage.recipes.iterative_rpo",
            "sample solutions, pair right with wrong ones, learn by DPO + NLL, repeat from the new model",
            "Iterative Reasoning Preference Optimization, arXiv 2404.19733v3",
        ),
        RecipeInfo(
            "flow-dpo",
            "tutelage.recipes.flow_dpo",
            "two models on one base write and judge solutions chunk by chunk, and learn online from trees of rollouts",
            "Flow-DPO: Flow of Reasoning by Multi-Agent Learning, arXiv 2410.22304",
        ),
        RecipeInfo(
            "compile",
            "tutelage.recipes.compile",
            "fine-tune on right solutions of the flow, the model alone and the data, and compare them fairly",
            "Flow-DPO, the compile step: arXiv 2410.22304",
        ),
        RecipeInfo(
            "ppo",
            "tutelage.recipes.ppo",
            "sample, score, and follow the clipped policy gradient: PPO with a value network, GRPO or RLOO without",
            "PPO, arXiv 1707.06347; GRPO, 2402.03300; RLOO, 2402.14740",
        ),
        RecipeInfo(
            "sft",
            "tutelage.recipes.sft",
            "supervised fine-tuning on the worked solutions of a data set",
            "the baseline of every method here",
        ),
    )
}
