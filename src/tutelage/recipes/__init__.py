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
            "reward-model",
            "tutelage.recipes.reward_model",
            "train a scalar head to rank the answers of one problem from graded samples, and measure what it is worth",
            "Bradley-Terry pairs, arXiv 2203.02155; the 360 talk, 2024",
        ),
        RecipeInfo(
            "judge",
            "tutelage.recipes.judge",
            "fine-tune judges that write an analysis and a score from 1 to 10, and measure them against their teacher",
            "ChatGLM-Math, arXiv 2404.02893; the 360 talk, 2024",
        ),
        RecipeInfo(
            "ppo",
            "tutelage.recipes.ppo",
            "sample, score, and follow the clipped policy gradient: PPO with a value network, GRPO or RLOO without",
            "PPO, arXiv 1707.06347; GRPO, 2402.03300; RLOO, 2402.14740",
        ),
        RecipeInfo(
            "critique-data",
            "tutelage.recipes.critique_data",
            "make step-level critiques of flawed and right solutions, and keep those that help the actor",
            "AutoMathCritique, arXiv 2411.16579",
        ),
        RecipeInfo(
            "critic",
            "tutelage.recipes.critic",
            "fine-tune a critic on such critiques; measure its verdicts, and what they do to an actor's answers",
            "AutoMathCritique, arXiv 2411.16579",
        ),
        RecipeInfo(
            "critique-loop",
            "tutelage.recipes.critique_loop",
            "sample, have a critic judge what failed, refine it, train the base again on what came out right; repeat",
            "AutoMathCritique, critique-in-the-loop self-improvement: arXiv 2411.16579",
        ),
        RecipeInfo(
            "synthesize",
            "tutelage.recipes.synthesize",
            "write new problems from seeds, drop what is alike, leaked or unsolvable, and answer them by agreement",
            "Self-Instruct, arXiv 2212.10560; the 360 talk, 2024",
        ),
        RecipeInfo(
            "self-talk",
            "tutelage.recipes.self_talk",
            "one model that checks its own steps: trains of thought made by actor and critic, learnt and compared",
            "AutoMathCritique, self-talk via critique: arXiv 2411.16579",
        ),
        RecipeInfo(
            "diverse-rft",
            "tutelage.recipes.diverse_rft",
            "several small samplers write solutions; few that differ much are learnt by another model",
            "RFT, arXiv 2308.01825; the 360 talk (2024)",
        ),
        RecipeInfo(
            "hard-dpo",
            "tutelage.recipes.hard_dpo",
            "preference pairs from hard problems only, by type, against best-versus-worst pairs",
            "the 360 talk (2024), ChatGLM-Math (arXiv 2404.02893)",
        ),
        RecipeInfo(
            "sft",
            "tutelage.recipes.sft",
            "supervised fine-tuning on the worked solutions of a data set",
            "the baseline of every method here",
        ),
    )
}
