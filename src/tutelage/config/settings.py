"""The settings that recipes share, one pydantic model per concern, flat so that a user types `learning_rate=1e-5`.

A recipe's config inherits the concerns it needs and adds its own fields. Every field has a sentence, a range and a
source: a paper's section, or `ours`. Defaults are the paper's where the paper states one.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

IRPO = "arXiv 2404.19733"


def setting(default: Any, text: str, *, source: str = "ours", unit: str = "", **limits: Any) -> Any:
    """A field with its sentence, unit, range and source; required where `default` is `...`."""
    return Field(default, description=text, json_schema_extra={"source": source, "unit": unit}, **limits)


class Settings(BaseModel):
    """Base of all settings: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), validate_default=True)


class GradingSettings(Settings):
    """Who judges, and within which limits."""

    grader: str = setting(
        "exact",
        "`exact`, or `FILE.py:FUNCTION` for your own: a function of (problem, completion), or a reward function in the "
        "style of TRL or verl (`trl:`, `trl-chat:` or `verl:` before the file settles it).",
    )
    symbolic: Literal["auto", "on", "off"] = setting(
        "auto",
        "Whether `exact` asks sympy, in the sandbox, what its other tiers leave undecided; auto: where it can.",
    )
    grader_isolation: Literal["auto", "sandbox", "process"] = setting(
        "auto",
        "Where your own grader runs: in the sandbox, or in a killable process with your files and network; "
        "auto takes the sandbox where this machine has one.",
    )
    grader_seconds: float = setting(
        10.0, "CPU time that one call of your own grader may take.", unit="seconds", gt=0, le=86_400
    )
    grader_memory: float = setting(4.0, "Memory that one call of your own grader may take.", unit="GiB", gt=0)
    grader_workers: int = setting(1, "Processes that grade at once; one a core at most.", ge=1, le=256)


class DataSettings(GradingSettings):
    """What is practised on."""

    data: str = setting(
        ..., "Problems to practise on: a name, a file, `format:path`, or a run of synthesize (what it kept)."
    )
    data_limit: int | None = setting(None, "Most problems taken from `data`; none is all.", unit="problems", ge=1)
    dev_data: str | None = setting(
        None, "Problems that decisions are made on (when to stop, which step is best); none holds out part of `data`."
    )
    dev_size: int = setting(0, "Problems held out of `data` for decisions; 0 holds out only what is needed.", ge=0)


class ModelSettings(Settings):
    """Which model, how it is prompted, what of it is trained."""

    model: str = setting(
        ..., "Model folder or hub name of a transformers causal language model, a run folder (its last checkpoint), or "
        "`primer`.",
    )  # fmt: skip
    dtype: Literal["auto", "float32", "bfloat16"] = setting(
        "auto", "Number format of the weights; auto is bfloat16 on a GPU and float32 on a CPU."
    )
    device: str = setting("auto", "Torch device; auto takes a GPU if there is one.")
    prompt: Literal["auto", "chat", "plain", "primer"] = setting(
        "auto", "Prompt form; auto is primer for primer, chat where the tokenizer has a chat template, else plain."
    )
    instruction: str | None = setting(
        None, "Text put before the question; none takes the paper's request for the data format.", source=f"{IRPO} §4"
    )
    system_prompt: str | None = setting(None, "System message of chat prompts; none sends no system message.")
    num_shots: int = setting(
        0, "Worked examples in the prompt.", source=f"{IRPO} §4: 0 for GSM8K and ARC, 4 for MATH", ge=0, le=64
    )
    shots: str | None = setting(
        None, "Data to take worked examples from; none takes training problems, which are then not trained on."
    )
    seed: int = setting(0, "Everything random derives from it.", ge=0)


class SamplerSettings(Settings):
    """Where completions come from."""

    sampler: str = setting(
        "local",
        "`local`, `server:URL`, `replay:FILE`, `scripted` (a rehearsal), or `scripted:FILE.py:FUNCTION`: a function of "
        "a request (`problem_id`, `index`, `seed`, `prompt_text`, `metadata['question']`, `metadata['answer']`) that "
        "returns a text or token ids.",
    )
    max_batch: int = setting(64, "Rows decoded at once by the local sampler.", unit="rows", ge=1, le=4096)
    max_in_flight: int = setting(32, "Requests in flight to a server at once.", unit="requests", ge=1, le=4096)
    server_model: str | None = setting(None, "Name of the model on the server; none asks the server.")
    timeout_seconds: float = setting(600.0, "How long one server request may take.", unit="seconds", gt=0)
    max_retries: int = setting(5, "Retries of one server request.", ge=0, le=100)


class ProgramSettings(Settings):
    """How programs that a model writes are run."""

    max_programs: int = setting(4, "Most programs of one solution of style mixed.", ge=1, le=64)
    program_seconds: float = setting(5.0, "Time that one program may take, by the clock.", unit="seconds", gt=0)
    program_cpu: float | None = setting(
        None, "Processor time that one program may take; none is `program_seconds`.", unit="seconds", gt=0
    )
    program_memory: float = setting(1.0, "Memory that one program may take.", unit="GiB", gt=0)
    program_threads: int = setting(32, "Threads of one program; a second process is always refused.", ge=1)
    program_file_size: float = setting(8.0, "Largest file that one program may write.", unit="MiB", gt=0)
    program_scratch: float = setting(16.0, "All files of one program together.", unit="MiB", gt=0)
    program_files: int = setting(256, "Files and folders of one program.", ge=1)
    program_output: float = setting(64.0, "What one program may print, and as much on stderr.", unit="KiB", gt=0)
    program_workers: int = setting(1, "Programs that run at once; one a core at most.", ge=1, le=256)
    sandbox: str = setting("auto", "Tier of the sandbox that holds programs (docs/sandbox.md); auto takes the first.")


class UpdateSettings(Settings):
    """How one optimizer update changes weights, whatever decides on when there is one."""

    learning_rate: float = setting(
        1e-5, "Peak learning rate.", source=f"ours; {IRPO} §4: 7e-7 for 70B parameters, all trained", gt=0, le=1
    )
    weight_decay: float = setting(0.0, "AdamW weight decay.", source="ours; not stated in the paper", ge=0)
    max_grad_norm: float = setting(1.0, "Gradients are scaled down to this norm; 0 leaves them.", ge=0)
    lora_rank: int = setting(0, "Rank of LoRA matrices; 0 trains all weights.", source=f"{IRPO}: all weights", ge=0)
    lora_alpha: float | None = setting(None, "LoRA scale; none takes twice the rank.", gt=0)
    lora_dropout: float = setting(0.0, "Dropout of LoRA inputs in training.", ge=0, lt=1)
    lora_targets: str = setting("all-linear", "Which modules get LoRA: `all-linear` or names with commas.")
    token_budget: int = setting(
        8192,
        "Most tokens, padding included, in one forward pass; more are split, with equal gradients.",
        unit="tokens",
        ge=1,
    )
    gradient_checkpointing: bool = setting(False, "Recompute activations in the backward pass to save memory.")
    max_length: int | None = setting(
        None,
        "Longest prompt plus completion; longer ones are dropped and counted. None is the model's context.",
        unit="tokens",
        ge=2,
    )
    checkpoint_every: int = setting(100, "Optimizer steps between resumable checkpoints.", unit="steps", ge=1)


class TrainingSettings(UpdateSettings):
    """How weights are changed by passes over data that lie ready."""

    batch_size: int = setting(16, "Pairs or examples in one optimizer step.", source=f"{IRPO} §4", ge=1)
    max_steps: int = setting(5000, "Most optimizer steps in one iteration.", unit="steps", source=f"{IRPO} §4", ge=1)
    epochs: float = setting(
        1.4,
        "Passes over the data; training ends at this or at `max_steps`.",
        source=f"{IRPO} §4: 5,000 steps of 16 over 55-60k pairs",
        gt=0,
        le=1000,
    )
    warmup_steps: int = setting(0, "Steps of linear warm-up; then constant, or cosine.", unit="steps", ge=0)
    schedule: Literal["constant", "linear", "cosine"] = setting(
        "constant", "Learning rate after the warm-up.", source="ours; not stated in the paper"
    )


class EvaluationSettings(Settings):
    """How accuracy is measured."""

    eval_data: str | None = setting(None, "Data to evaluate on; none holds out part of `data`.")
    eval_limit: int | None = setting(500, "Most problems evaluated greedily; none is all.", unit="problems", ge=1)
    eval_samples: int = setting(
        8, "Samples a problem for the majority vote; 0 leaves it out.", source=f"ours; {IRPO} §4: 32", ge=0
    )
    eval_sample_limit: int | None = setting(
        200, "Most problems evaluated by majority vote; none is all.", unit="problems", ge=1
    )
    eval_temperature: float = setting(0.8, "Temperature of the votes.", source=f"{IRPO} §4", gt=0, le=5)


class RunSettings(Settings):
    """Where results go."""

    output_dir: str | None = setting(None, "Run folder; none is runs/<recipe>-<model>-<time>.")
    report_to: Literal["none", "tensorboard", "wandb", "trackio"] = setting(
        "none", "Tracker that gets the metrics besides the run folder."
    )
    keep_checkpoints: Literal["all", "last"] = setting("all", "Which iterations' weights stay on disk.")
