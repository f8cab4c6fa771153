r"""Lines that are overwritten: the file has what a terminal would show, however the output arrives."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tqdm import tqdm

from job_orchestration.executor.overwritten_lines import OverwrittenLines

PIECES = [
    b"a",
    b"bc",
    b" ",
    b"\n",
    b"\r",
    b"\x1b[A",
    b"\x1b[2A",
    b"\x1b[K",
    b"\x1b[2K",
    b"\x1b[31m",
    "é".encode(),
]


def written(*chunks: bytes) -> bytes:
    """The file after some chunks of output."""
    lines, file = OverwrittenLines(), b""
    for chunk in chunks:
        surplus, data = lines.write(chunk)
        assert surplus <= len(file)
        file = file[: len(file) - surplus] + data
    return file + lines.end_line()


def ended(text: bytes) -> bytes:
    return text if not text or text.endswith(b"\n") else text + b"\n"


@given(st.lists(st.sampled_from(PIECES), max_size=30), st.lists(st.integers(0, 60), max_size=5))
def test_it_does_not_matter_in_which_pieces_output_arrives(pieces, cuts):
    data = b"".join(pieces)
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    chunks = [data[begin:end] for begin, end in pairwise(places)]
    assert written(*chunks) == written(data)


@given(
    st.lists(
        st.binary(max_size=3000).map(lambda b: b.replace(b"\r", b".").replace(b"\x1b", b".")), max_size=8
    )
)
def test_what_overwrites_nothing_is_written_as_it_is(chunks):
    assert written(*chunks) == ended(b"".join(chunks))


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"one\rtwo\n", b"two\n"),
        (b"windows\r\nlines\r\n", b"windows\nlines\n"),
        (b"bar\r    \rdone\n", b"done\n"),
        (b"bar\r", b"bar\n"),
        (b"outer\n\rinner 1\x1b[A\rOUTER\n\rinner 2\x1b[A\n\n", b"OUTER\ninner 2\n"),
        (b"\x1b[31mred\x1b[0m\n", b"\x1b[31mred\x1b[0m\n"),
        (b"bar\x1b[2K\rnext\n", b"next\n"),
        (b"x" * 100_000 + b"\n" + b"y" * 5000 + b"\rb\n", b"x" * 100_000 + b"\nb\n"),
        (b"line\n" * 5000 + b"a\rb\n", b"line\n" * 5000 + b"b\n"),
    ],
)
def test_a_line_is_kept_as_its_last_state(data, wanted):
    assert written(data) == wanted
    assert written(*(data[n : n + 1000] for n in range(0, len(data), 1000))) == wanted


def test_bars_of_tqdm_leave_one_line_each():
    out = io.StringIO()
    for _ in tqdm(range(3), file=out, mininterval=0, desc="outer"):
        for _ in tqdm(range(50), file=out, mininterval=0, desc="inner", leave=False):
            pass
    for number in tqdm(range(30), file=out, mininterval=0):
        if number == 10:
            tqdm.write("a note", file=out)
    data = out.getvalue().encode()
    assert data.count(b"\r") > 150
    lines = written(*(data[n : n + 70] for n in range(0, len(data), 70))).decode().splitlines()
    assert [line.split("|")[0].strip() for line in lines] == ["outer: 100%", "a note", "100%"]
