"""F12: drops that no config should ever be, and drops that come in a bad way, through the command line.

The table below has one row for each: its name, what lies there, and every sentence that is said of it. The
sentences are said by `check`, by `ready` and by `watch`, on the terminal and in the file beside the drop.
"""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import wait_until
from tests.faults.figures import figure
from tests.faults.workspace_files import names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MOST = 1_048_576
NO_FILE = "this is {}, not a regular file. Put the config itself here."
NO_NAME = "the file's name {}. Rename the file."
NO_FOLDER = '2:12: outputDir: {}. Write a folder inside Output, such as "{{date}}/{{name}}".'
NO_END = "the alias *a is inside the value that it repeats, which would be endless. Write the value out."
TOO_MANY = "the file has more than 20000 values, with its aliases written out. Keep data in other files."
BOMB = b"a0: &a0 [x, x]\n" + b"".join(
    b"a%d: &a%d [%b]\n" % (n, n, b"*a%d," % (n - 1) * 9) for n in range(1, 12)
)


def good(run: str, more: bytes = b"") -> bytes:
    """A config that is fine; ``REPOSITORY`` is put in later."""
    config = f"pathToTasks: REPOSITORY\noutputDir: {run}\ntasks:\n- {{id: quick, method: Quick}}\n"
    return config.encode() + more


def socket_at(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)


def device_at(path: str) -> None:
    try:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    except PermissionError:  # only root makes devices; what there is of one for others is covered by the link
        os.mkfifo(path)
        return


IS_ROOT = os.geteuid() == 0
EVERYWHERE = pytest.mark.parametrize("form", ["short", pytest.param("long", marks=pytest.mark.soak)])
"""The table is the same in both forms of the suite."""
OFTEN = pytest.mark.parametrize(
    "time_of_many", [0, *(pytest.param(n, marks=pytest.mark.soak) for n in range(1, 21))]
)
"""What depends on luck is tried more often in the long form."""

BAD: list[tuple[bytes, bytes | Callable[[str], None], list[str]]] = [
    # -- no regular file
    (b"fifo.yaml", os.mkfifo, [NO_FILE.format("a FIFO")]),
    (b"passwd.yaml", lambda p: os.symlink("/etc/passwd", p), [NO_FILE.format("a link")]),
    (b"zero.yaml", lambda p: os.symlink("/dev/zero", p), [NO_FILE.format("a link")]),
    (b"dangling.yaml", lambda p: os.symlink("nowhere", p), [NO_FILE.format("a link")]),
    (b"device.yaml", device_at, [NO_FILE.format("a device" if IS_ROOT else "a FIFO")]),
    (b"folder.yaml", os.mkdir, [NO_FILE.format("a folder")]),
    (b"socket.yaml", socket_at, [NO_FILE.format("a socket")]),
    # -- names
    (b"new\nline.yaml", good("name/1"), [NO_NAME.format("holds a control character")]),
    (b"esc\x1b[31mred.yaml", good("name/2"), [NO_NAME.format("holds a control character")]),
    (b"a~g000001~w.yaml", good("name/3"), [NO_NAME.format("holds a '~'")]),
    (b"caf\xe9.yaml", good("name/4"), [NO_NAME.format("is not UTF-8")]),
    (b"x" * 151 + b".yaml", good("name/5"), [NO_NAME.format("is longer than 150 bytes")]),
    (b"x" * 240 + b".yaml", good("name/6"), [NO_NAME.format("is longer than 150 bytes")]),
    (b"x" * 250 + b".yaml", good("name/7"), [NO_NAME.format("is longer than 150 bytes")]),
    # -- bytes
    (b"empty.yaml", b"", ["the file is empty. Write lines of the form `key: value`."]),
    (
        b"huge.yaml",
        b"#" * 20_000_000,
        [f"the file has 20000000 bytes, and {MOST} are the most. Keep data in other files."],
    ),
    (
        b"nul.yaml",
        good("bytes/1", b"a: \0\n"),
        [
            (
                "5:4: the character U+0000 cannot stand in a config. Take it out, "
                'or write it as an escape in "double quotes".'
            )
        ],
    ),
    (
        b"latin.yaml",
        good("bytes/2", b"a: caf\xe9\n"),
        ["5:7: the byte 0xe9 is not UTF-8. Save the file as UTF-8."],
    ),
    (b"utf16.yaml", "a: 1\n".encode("utf-16"), ["the file is UTF-16, not UTF-8. Save it as UTF-8."]),
    # -- YAML
    (
        b"bomb.yaml",
        good("yaml/1", BOMB),
        [f"9:38: a4[7]: {TOO_MANY}"],
    ),
    (
        b"cycle.yaml",
        good("yaml/2", b"a: &a\n  k: [*a]\n"),
        [f"6:7: a.k[0]: {NO_END}"],
    ),
    (
        b"deep.yaml",
        b"a: " + b"[" * 100_000,
        ["1:35: the values are nested deeper than 32. Make the structure flatter."],
    ),
    (
        b"many.yaml",
        good("yaml/3", b"n: [" + b"1," * 30_000 + b"]\n"),
        ["5:39989: n[19992]: the file has more than 20000 values. Keep data in other files."],
    ),
    (
        b"tag.yaml",
        good("yaml/4", b"a: !!python/object/apply:os.system [id]\n"),
        ["5:4: a: tags (!!python/object/apply:os.system) are not allowed. Write the plain value."],
    ),
    (
        b"twice.yaml",
        good("yaml/5", b"outputDir: other\n"),
        ["5:1: outputDir: duplicate key 'outputDir', already on line 2. Keep one of the two."],
    ),
    (
        b"digits.yaml",
        good("yaml/6", b"n: " + b"9" * 5000 + b"\n"),
        [f"5:4: n: the number '{'9' * 20}…' has too many digits. Put it in quotes if it is a text."],
    ),
    (
        b"key.yaml",
        good("yaml/7", b"? [a]\n: 1\n"),
        ["5:3: a key must be a text, not a list or a mapping. Write `key: value`."],
    ),
    (b"tab.yaml", b"a:\n\tb: 1\n", ["2:1: a tab cannot be used for indentation. Use spaces."]),
    (
        b"two.yaml",
        good("yaml/8", b"---\nb: 2\n"),
        ["5:1: a second document begins here. Keep one document in a file."],
    ),
    (
        b"word.yaml",
        b"hello\n",
        ["1:1: the file holds a text instead of keys with values. Write lines of the form `key: value`."],
    ),
    # -- output folders
    (b"o1.yaml", good("../x"), [NO_FOLDER.format("the folder '..' begins with a '.'")]),
    (b"o2.yaml", good("a/../../x"), [NO_FOLDER.format("the folder '..' begins with a '.'")]),
    (b"o3.yaml", good("/etc/x"), [NO_FOLDER.format("'/etc/x' is an absolute path")]),
    (b"o4.yaml", good("''"), [NO_FOLDER.format("the path is empty")]),
    (b"o5.yaml", good("."), [NO_FOLDER.format("the folder '.' begins with a '.'")]),
    (b"o6.yaml", good("~root/x"), [NO_FOLDER.format("the folder '~root' holds a '~'")]),
    (
        b"o7.yaml",
        good("link/x"),
        ["2:12: outputDir: Output/link/x leads through a symbolic link. Choose another outputDir."],
    ),
]
NEIGHBOURS = ["-rf.yaml", "two words.yaml", "héllo.yaml", "zz.YML"]
"""Names that are unusual and fine."""


@pytest.fixture
def repository_path(repository):
    return str(repository()).encode()


def put(workspace: Path, repository: bytes, name: bytes | str, content: bytes) -> None:
    """Drop a complete config that needs no time to settle."""
    folder = os.fsencode(workspace / "ConfigSources")
    with open(folder + b"/.part", "wb") as file:
        file.write(content.replace(b"REPOSITORY", repository))
    os.rename(folder + b"/.part", folder + b"/" + os.fsencode(name))


def put_all(workspace: Path, repository: bytes, monkeypatch) -> None:
    monkeypatch.chdir(workspace / "ConfigSources")  # a socket's path must be short
    (workspace / "Output" / "link").symlink_to(workspace.parent)
    for name, content, _ in BAD:
        if isinstance(content, bytes):
            put(workspace, repository, name, content)
        else:
            content(os.fsdecode(name))


def put_neighbours(workspace: Path, repository: bytes, runs: str) -> None:
    for n, name in enumerate(NEIGHBOURS):
        put(workspace, repository, name, good(f"{runs}/{n}"))


def identities(workspace: Path) -> dict[bytes, tuple[object, ...]]:
    """What lies in ConfigSources, the problems files aside, so that any change to it shows."""
    folder = os.fsencode(workspace / "ConfigSources")
    found = {}
    for name in os.listdir(folder):
        if not name.endswith(b".problems.txt"):
            status = os.lstat(folder + b"/" + name)
            found[name] = (status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns)
    return found


def shown(name: bytes) -> str:
    """A name as it may stand on a terminal."""
    return os.fsdecode(name).replace("\n", r"\n").replace("\x1b", r"\x1b").replace("\udce9", r"\udce9")


def expected() -> set[str]:
    return {line for name, _, said in BAD for line in lines_of(name, said)}


def lines_of(name: bytes, said: list[str]) -> list[str]:
    return [f"{shown(name)}:{s}" if s[0].isdigit() else f"{shown(name)}: {s}" for s in said]


def of_bad_drops(text: str) -> set[str]:
    """The lines that are about drops of the table."""
    heads = tuple(f"{shown(name)}:" for name, _, _ in BAD)
    return {line for line in text.split("\n") if line.startswith(heads)}


def assert_printable(text: str) -> None:
    assert not re.findall(r"[\0-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]", text)


def assert_said_beside(workspace: Path) -> None:
    """The file beside each drop says the same, and it alone."""
    folder = os.fsencode(workspace / "ConfigSources")
    for name, _, said in BAD:
        path = folder + b"/" + name + b".problems.txt"
        if len(os.path.basename(path)) + 12 > 255:
            continue  # there is no room for such a name
        with open(path, encoding="utf-8") as file:
            text = file.read()
        assert text == "".join(f"{line}\n" for line in lines_of(name, said))
        assert_printable(text)


@EVERYWHERE
def test_each_bad_drop_gets_its_sentence_and_stays_and_its_good_neighbours_are_queued(
    workspace, repository_path, cli, start, monkeypatch, form
):
    put_all(workspace, repository_path, monkeypatch)
    put_neighbours(workspace, repository_path, "first")
    before = identities(workspace)
    checked = cli("check", check=3)
    assert of_bad_drops(checked.stdout) == expected()
    assert identities(workspace) == before

    started = time.monotonic()
    done = cli("ready", check=3)
    took = time.monotonic() - started
    assert of_bad_drops(done.stdout) == expected()
    assert_printable(done.stdout + done.stderr)
    assert_said_beside(workspace)
    remaining = {os.fsencode(name): before.pop(os.fsencode(name)) for name in NEIGHBOURS}
    assert len(remaining) == len(NEIGHBOURS)
    assert identities(workspace) == before, "a bad drop was touched"
    assert names(workspace, "ConfigsToRun") == sorted(n.rpartition(".")[0] for n in NEIGHBOURS)
    figure("F12", f"{len(BAD)} bad drops and {len(NEIGHBOURS)} good ones, seconds", round(took, 1))

    shown = cli("status")
    assert_printable(shown.stdout)
    counts = json.loads(cli("status", "--json").stdout)["counts"]
    assert (counts["to_run"], counts["running"]) == (len(NEIGHBOURS), 0)

    for path in (workspace / "ConfigSources").glob("*.problems.txt"):
        path.unlink()
    watching = start("watch")
    put_neighbours(workspace, repository_path, "second")
    wait_until(lambda: len(names(workspace, "ConfigsToRun")) == 2 * len(NEIGHBOURS))
    wait_until((workspace / "ConfigSources" / "zero.yaml.problems.txt").exists)
    watching.terminate()
    said, _ = watching.communicate(timeout=30)
    assert of_bad_drops(said) == expected()
    assert_printable(said)
    assert_said_beside(workspace)
    assert identities(workspace) == before, "a bad drop was touched"


def test_a_foreign_file_in_configs_to_run_never_runs_and_never_stops_a_worker(
    workspace, repository_path, cli
):
    put(workspace, repository_path, "good.yaml", good("good"))
    cli("ready")
    folder = workspace / "ConfigsToRun"
    os.mkfifo(folder / "fifo.yaml")
    (folder / "link.yaml").symlink_to("/etc/passwd")
    (folder / "loop.yaml").symlink_to("loop.yaml")
    (folder / "folder.yaml").mkdir()
    (folder / "hand.yaml").write_bytes(good("hand").replace(b"REPOSITORY", repository_path))
    (folder / "escape.yaml").write_text("# job_orchestration run: ../../escape\n")
    (folder / f"{'x' * 170}.yaml").write_text("a: 1\n")
    done = cli("work", "--until-idle")
    assert names(workspace, "Completed") == ["good"]
    unready = "This file was not readied: nothing has checked it or pinned its code. Move it to ConfigSources"
    cannot = "It cannot be opened: Too many levels of symbolic links. Move it away, or repair it."
    for name, sentence in {
        "fifo": "It is no plain file. Move it away.",
        "link": cannot,
        "loop": cannot,
        "folder": "It cannot be opened: Is a directory. Move it away, or repair it.",
        "hand": f"{unready} and run: job-orchestration ready.",
        "escape": f"{unready} and run: job-orchestration ready.",
    }.items():
        assert f"{name}.yaml: {sentence}\n" in done.stdout
        assert (folder / f"{name}.yaml.problems.txt").read_text() == f"{name}.yaml: {sentence}\n"
    assert len(list((workspace / "Output").iterdir())) == 1


def test_a_folder_in_the_place_of_a_problems_file_does_no_harm(workspace, repository_path, cli):
    put(workspace, repository_path, "bad.yaml", b"hello\n")
    put(workspace, repository_path, "good.yaml", good("good"))
    for name in ("bad", "good"):
        (workspace / "ConfigSources" / f"{name}.yaml.problems.txt").mkdir()
    assert "bad.yaml:1:1: the file holds a text" in cli("ready", check=3).stdout
    assert names(workspace, "ConfigsToRun") == ["good"]
    left = {p.name for p in (workspace / "ConfigSources").iterdir()}
    assert left == {"bad.yaml", "bad.yaml.problems.txt", "good.yaml.problems.txt"}


# -- drops that come in a bad way -------------------------------------------------------------------------


@pytest.mark.slow
def test_a_file_that_its_writer_still_holds_is_left_for_the_next_time(workspace, repository_path, cli):
    path = workspace / "ConfigSources" / "half.yaml"
    with open(path, "wb") as writer:
        writer.write(good("half").replace(b"REPOSITORY", repository_path))  # valid as far as it goes
        writer.flush()
        done = cli("ready")  # which waits for six seconds, and a file at rest for two would be whole
        assert done.stdout == "half.yaml is still being written; it is left for the next time\n"
        assert names(workspace, "ConfigsToRun") == []
        writer.write(b"rest: 1\n")
    cli("ready")
    assert "rest: 1" in (workspace / "ConfigsToRun" / "half.yaml").read_text()


def write_slowly(path: Path, config: bytes) -> None:
    """A writer that opens, appends and closes again and again, and never rests for two seconds."""
    for n in range(6):
        with open(path, "ab") as file:
            file.write(config if n == 0 else b"n%d: 1\n" % n)
        time.sleep(0.4)


def touch_and_append(path: Path, config: bytes) -> None:
    """An editor's, or a network file system's, way to write: the empty file first."""
    path.touch()
    time.sleep(1)
    with open(path, "ab") as file:
        file.write(config)


ABOUT = ("about.yaml", "about2.yaml")


def rename_about(path: Path) -> None:
    """A file that does not keep its name, until somebody takes it."""
    other = path.with_name(ABOUT[1])
    for _ in range(300):
        try:
            path.rename(other)
        except FileNotFoundError:
            return
        path, other = other, path
        time.sleep(0.005)


def replace_often(workspace: Path, repository: bytes) -> None:
    """A file that is replaced by another under the same name, fifty times."""
    for n in range(50):
        put(workspace, repository, "same.yaml", good(f"same/{n}", b"n: %d\n" % n))
        time.sleep(0.02)


@pytest.mark.slow
@OFTEN
def test_drops_that_come_slowly_or_restlessly_or_twice_are_queued_whole_and_once(
    workspace, repository_path, start, time_of_many
):
    sources = workspace / "ConfigSources"
    watching = start("watch")
    put(workspace, repository_path, "first.yaml", good("first"))
    wait_until(lambda: names(workspace, "ConfigsToRun"), what="the watch has begun")
    put(workspace, repository_path, "about.yaml", good("about"))

    def config(run: str) -> bytes:
        return good(run).replace(b"REPOSITORY", repository_path)

    writers = [
        threading.Thread(target=write_slowly, args=(sources / "slow.yaml", config("slow"))),
        threading.Thread(target=touch_and_append, args=(sources / "touched.yaml", config("touched"))),
        threading.Thread(target=rename_about, args=(sources / "about.yaml",)),
        threading.Thread(target=replace_often, args=(workspace, repository_path)),
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    put(workspace, repository_path, "last.yaml", good("last"))
    runs = workspace / "Output"
    for run in ("one", "two"):
        put(workspace, repository_path, "again.yaml", good(run))
        wait_until(lambda run=run: (runs / run / "status.yaml").exists(), 30, run)
    put(workspace, repository_path, "again.yaml", good("two"))
    wait_until((sources / "again.yaml.problems.txt").exists, 30)
    for run in ("slow", "touched", "about", "last", "same/49"):
        wait_until(lambda run=run: (runs / run / "status.yaml").exists(), 30, run)
    wait_until(lambda: not {p.name for p in sources.glob("*.yaml")} - {*ABOUT, "again.yaml"}, 30)
    watching.terminate()
    said, _ = watching.communicate(timeout=30)
    assert "Traceback" not in said
    assert "slow.yaml: queued" in said
    assert (
        "again.yaml:2:12: outputDir: The path two already exists in Output. Choose another outputDir, "
        "or say overwriteOutputFine: true to have the old one moved to Misc/trash.\n"
    ) in said
    assert {"again", "again-2"} <= set(names(workspace, "ConfigsToRun"))

    tokens = [p.read_text() for p in (workspace / "ConfigsToRun").glob("*.yaml")]
    queued = [re.findall(r"^# job_orchestration run: (.*)$", text, re.MULTILINE)[0] for text in tokens]
    assert len(queued) == len(set(queued)), "one run, two tokens"
    assert {"first", "slow", "touched", "about", "last", "same/49"} <= set(queued)
    (slow,) = [text for text in tokens if "run: slow\n" in text]
    assert all(f"n{n}: 1\n" in slow for n in range(1, 6))
    for run, text in zip(queued, tokens, strict=True):
        if run.startswith("same/"):
            assert f"n: {run[5:]}\n" in text, "a mixture of two drops"
