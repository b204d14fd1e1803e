"""Which tier is taken, when it is refused, and what is said then."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tutelage.errors import InputError, SandboxUnavailable
from tutelage.sandbox import open_sandbox, selftest
from tutelage.sandbox.advice import advice
from tutelage.sandbox.containers import command

REPORT = (
    "import sys\nfrom tutelage.sandbox import open_sandbox\nfrom tutelage.errors import SandboxUnavailable\n"
    "try:\n    with open_sandbox(preload=(), allow_unsafe=sys.argv[1] == 'unsafe') as s:\n"
    "        print(s.tier, s.run('print(1)').tier)\n"
    "except SandboxUnavailable as error:\n    print('refused', error.message().replace(chr(10), ' '))\n"
)
STUB = """#!/bin/bash
# stands in for an engine: runs the words after the image in bubblewrap, with the same mounts
shown=()
while [ $# -gt 0 ]; do
  case $1 in
    --volume) IFS=: read -r from to _ <<< "$2"; shown+=(--ro-bind "$from" "$to"); shift;;
    --network|--cap-drop|--ipc|--security-opt|--user|--pids-limit|--hostname|--workdir|--entrypoint|--runtime|--env) shift;;
    run|--rm|--read-only) ;;
    *) break;;
  esac
  shift
done
shift
for path in PATHS; do shown+=(--ro-bind "$path" "$path"); done
exec bwrap --unshare-pid --unshare-net --unshare-ipc --unshare-user --uid 65534 --gid 65534 --die-with-parent \\
  --proc /proc --dev-bind /dev/null /dev/null "${shown[@]}" --remount-ro / --chdir / PYTHON "$@"
"""  # noqa: E501


def opened_where(words: list[str], mode: str = "safe") -> str:
    """What `open_sandbox` gives in a process started by `words`."""
    done = subprocess.run([*words, sys.executable, "-c", REPORT, mode], capture_output=True, text=True, timeout=120)
    if not done.stdout and "unshare" in done.stderr:
        pytest.skip(f"cannot be simulated here: {done.stderr}")
    return done.stdout.strip()


@pytest.fixture
def without_namespaces() -> list[str]:
    """Words that start a process which can make no namespaces: no rights, and none to be had."""
    if shutil.which("unshare") is None or shutil.which("setpriv") is None:
        pytest.skip("unshare and setpriv are needed")
    drop = 'echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-all --inh-caps=-all -- "$@"'
    return ["unshare", "--user", "--map-root-user", "sh", "-c", drop, "sh"]


@pytest.mark.slow
def test_without_namespaces_landlock_is_taken_or_all_is_refused(without_namespaces: list[str], sandbox_of) -> None:
    sandbox_of("landlock")
    assert opened_where(without_namespaces) == "landlock landlock"


@pytest.mark.slow
def test_where_nothing_holds_it_is_refused_and_never_silently_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "faults", lambda run: ["network: a program got out"])
    with pytest.raises(SandboxUnavailable, match="got out") as caught:
        open_sandbox(preload=())
    message = caught.value.message()
    assert all(tier in message for tier in ("namespaces", "landlock", "bubblewrap"))
    assert "--allow-unsafe-execution" in message
    with open_sandbox(preload=(), allow_unsafe=True) as server:
        assert server.tier == server.run("print(1)").tier == "none"


def test_none_must_be_allowed() -> None:
    with pytest.raises(SandboxUnavailable, match="unprotected"):
        open_sandbox(tier="none")


def test_allowing_the_unsafe_does_not_prefer_it(sandbox_of) -> None:
    expected = sandbox_of("auto").tier
    with open_sandbox(preload=(), allow_unsafe=True) as server:
        assert server.tier == expected != "none"


def test_the_self_test_sees_that_none_holds_nothing(sandbox_of) -> None:
    found = selftest.faults(sandbox_of("none").run)
    assert [fault.split(":")[0] for fault in found] == ["network", "secret", "write", "fork", "kill"]


@pytest.mark.parametrize("tier", ["", "chroot", "namespace", "docker", "podman:", "runsc"])
def test_unknown_tiers_are_refused(tier: str) -> None:
    with pytest.raises(InputError):
        open_sandbox(tier=tier)


@pytest.mark.parametrize("entry", ["no_such_module:f", "json:no_such_function"])
def test_an_entry_that_cannot_be_loaded_is_the_callers_mistake(sandbox_of, entry: str) -> None:
    with pytest.raises(InputError, match="cannot load"):
        open_sandbox(tier=sandbox_of("auto").tier, entries=[entry], preload=())


def test_no_worker_is_refused() -> None:
    with pytest.raises(InputError, match="worker"):
        open_sandbox(workers=0)


def test_advice_names_the_setting_that_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel" / "apparmor_restrict_unprivileged_userns").write_text("1\n")
    said = advice({"namespaces": "unshare: Operation not permitted", "bubblewrap": "bwrap is not installed"}, tmp_path)
    assert "AppArmor" in said and "install bubblewrap" in said and "security-opt" not in said
    assert "--security-opt seccomp=unconfined" in advice(
        {"namespaces": "unshare: Operation not permitted"}, Path("/no")
    )


def test_a_container_gets_no_network_no_rights_and_no_environment(tmp_path: Path) -> None:
    words = command("/usr/bin/docker", "runsc:image", tmp_path, {"PATH": "/bin", "LANG": "C"})
    text = " ".join(words)
    assert "--network none --read-only --cap-drop ALL" in text
    assert "--runtime runsc" in text and "--env LANG=C" in text and "PATH" not in text
    assert words[-1] == "image"


@pytest.mark.slow
def test_a_named_engine_is_used_and_tested(sandbox_of, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tutelage.sandbox.visible import readable

    sandbox_of("bubblewrap")
    stub = tmp_path / "docker"
    paths = [path for path in readable() if not Path(path).is_symlink()]
    links = [
        f'--symlink "{path.readlink()}" "{path}"' for path in map(Path, ("/lib", "/lib64", "/bin")) if path.is_symlink()
    ]
    text = STUB.replace("PATHS", " ".join(paths)).replace("PYTHON", "/usr/bin/python3")
    stub.write_text(text.replace("--proc /proc", f"--proc /proc --ro-bind /usr/bin /usr/bin {' '.join(links)}"))
    stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
    if not Path("/usr/bin/python3").exists():
        pytest.skip("no system Python to stand in for an image's")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with open_sandbox(tier="docker:image", preload=()) as server:
        execution = server.run("open('x', 'w')")
        assert (execution.status, execution.tier) == ("refused", "docker:image")
