"""`tutelage run`: folders, resuming, and what a failure says; the recipes themselves are tested elsewhere."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tutelage.cli.run import choose_folder, explain, refuse_unknown_options, unused
from tutelage.errors import ConfigError, InputError, NothingToLearn, RunError, RunFailed

MORNING = 1_800_000_000.0


def test_a_named_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert choose_folder("sft", "x/y", "m", resume=False, runs=tmp_path) == Path("x/y")
    assert choose_folder("sft", "x/y", "m", resume=True, runs=tmp_path) == Path("x/y")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("primer", "primer"),
        ("org/Some-Model-0.5B", "Some-Model-0.5B"),
        ("/a/b/", "b"),
        ("runs/demo/checkpoints/it2", "demo-it2"),
        ("a b", "a_b"),
        ("..\\m:x", "m_x"),
        ("/", "model"),
    ],
)
def test_a_new_folder_has_recipe_model_and_time(tmp_path: Path, model: str, name: str) -> None:
    folder = choose_folder("sft", None, model, resume=False, runs=tmp_path, clock=lambda: MORNING)
    assert folder == tmp_path / time.strftime(f"sft-{name}-%Y%m%d-%H%M%S", time.localtime(MORNING))


def test_two_runs_in_one_second_get_two_folders(tmp_path: Path) -> None:
    first = choose_folder("sft", None, "m", resume=False, runs=tmp_path, clock=lambda: MORNING)
    first.mkdir()
    second = choose_folder("sft", None, "m", resume=False, runs=tmp_path, clock=lambda: MORNING)
    assert second.name == first.name + "-2"


def make_run(folder: Path) -> None:
    folder.mkdir()
    (folder / "run.json").write_text("{}")


def test_resume_takes_the_newest_of_that_recipe_and_model(tmp_path: Path) -> None:
    for name in ("sft-m-20260101-000000", "sft-m-20260301-000000", "sft-m-x-20270101-000000", "sft-n-20280101-000000"):
        make_run(tmp_path / name)
    (tmp_path / "sft-m-20290101-000000").mkdir()  # holds no run
    assert choose_folder("sft", None, "m", resume=True, runs=tmp_path).name == "sft-m-20260301-000000"


def test_nothing_to_resume_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        choose_folder("sft", None, "m", resume=True, runs=tmp_path)
    assert "output_dir=FOLDER" in str(caught.value)


def test_unused_counts_up(tmp_path: Path) -> None:
    wanted = tmp_path / "demo-seed0"
    assert unused(wanted) == wanted
    wanted.mkdir()
    (tmp_path / "demo-seed0-2").mkdir()
    assert unused(wanted).name == "demo-seed0-3"


@pytest.mark.parametrize(
    ("word", "near"), [("--dryrun", "--dry-run"), ("--dry_run", "--dry-run"), ("--resum", "--resume")]
)
def test_a_misspelt_option_is_named(word: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean {near}"):
        refuse_unknown_options(["a=1", word])


def test_settings_with_dashes_are_left_to_the_settings() -> None:
    refuse_unknown_options(["--learning_rate", "1e-5", "-1"])


AGAIN = ["tutelage", "run", "sft", "data=a b", "--resume"]


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    make_run(tmp_path / "r")
    told = explain(KeyboardInterrupt(), tmp_path / "r", AGAIN)
    assert told.exit_code == 1 and told.what == "interrupted"
    assert told.__notes__ == ["nothing done so far is lost; go on with: tutelage run sft 'data=a b' --resume"]
    assert not (tmp_path / "r" / "traceback.txt").exists()


def test_a_failure_before_the_run_began_says_nothing_of_going_on(tmp_path: Path) -> None:
    told = explain(InputError("bad"), tmp_path / "r", AGAIN)
    assert told.exit_code == 2 and not hasattr(told, "__notes__")


def test_nothing_to_learn_is_not_mended_by_going_on(tmp_path: Path) -> None:
    make_run(tmp_path / "r")
    assert not hasattr(explain(NothingToLearn("no pairs"), tmp_path / "r", AGAIN), "__notes__")


def test_a_mistake_of_ours_leaves_its_traceback_in_the_run_folder(tmp_path: Path) -> None:
    make_run(tmp_path / "r")
    try:
        raise ZeroDivisionError("oh")
    except ZeroDivisionError as error:
        told = explain(error, tmp_path / "r", AGAIN)
    assert isinstance(told, RunFailed) and told.seen == "ZeroDivisionError: oh"
    assert "raise ZeroDivisionError" in (tmp_path / "r" / "traceback.txt").read_text()
    assert told.__notes__[0] == f"traceback: {tmp_path / 'r' / 'traceback.txt'}"
