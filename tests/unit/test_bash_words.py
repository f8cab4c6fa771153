import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job_orchestration.cli.bash_words import Line, quoted

BREAKS = " \t\n\"'><=;|&(:"
NAMES = st.text(
    st.characters(exclude_characters="\0", exclude_categories=("Cs",))
    | st.sampled_from("$`\"'\\!*? ;&\n\t[b]"),
    min_size=1,
    max_size=12,
)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@settings(max_examples=3, deadline=None)
@given(st.lists(NAMES, min_size=60, max_size=60))
def test_bash_reads_a_quoted_name_back_as_it_is(names):
    plain = " ".join(map(quoted, names))
    double = " ".join(f'"{quoted(name, chr(34))}"' for name in names)
    single = " ".join(f"'{quoted(name, chr(39))}'" for name in names)
    script = f"printf '%s\\0' {plain} {double} {single}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True, timeout=60)
    assert done.stdout.decode().split("\0")[:-1] == names * 3


@pytest.mark.parametrize(
    ("text", "before", "word"),
    [
        ("jo ", ("jo",), ""),
        ("jo show a", ("jo", "show"), "a"),
        ("cd x && jo show a\\ b", ("jo", "show"), "a b"),
        ("jo show 'a b", ("jo", "show"), "a b"),
        ('jo show "a b" c', ("jo", "show", "a b"), "c"),
        ("jo status --status=fa", ("jo", "status"), "--status=fa"),
        ("X=1; jo show '", ("jo", "show"), ""),
    ],
)
def test_the_words_before_the_cursor_are_those_of_the_last_command(text, before, word):
    line = Line.parse(text, BREAKS)
    assert (line.before, line.word) == (before, word)


def test_what_bash_keeps_of_a_word_is_not_inserted_again():
    assert Line.parse("jo status --status=fa", BREAKS).insert("--status=failed") == "failed"
    assert Line.parse("jo show a:b", BREAKS).insert("a:b c") == "b\\ c"
    assert Line.parse("jo show 'a", BREAKS).insert("a b") == "a b"
