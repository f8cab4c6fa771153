"""Strict YAML: what is read, what is refused and in which words, with libyaml and without it."""

from __future__ import annotations

import importlib.util
import sys
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from job_orchestration.config import yaml_reader, yaml_writer

with_libyaml = pytest.mark.skipif(not yaml.__with_libyaml__, reason="PyYAML was built without libyaml")


def without_libyaml(module):
    """A second copy of a module, imported as if PyYAML had been built without libyaml."""
    names = {"CSafeLoader": "SafeLoader", "CSafeDumper": "SafeDumper"}
    kept = {name: vars(yaml).pop(name) for name in names if hasattr(yaml, name)}
    try:
        spec = importlib.util.spec_from_file_location(f"pure_{module.__name__}", module.__file__)
        copy = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = copy  # dataclasses look their module up
        spec.loader.exec_module(copy)
    finally:
        vars(yaml).update(kept)
    return copy


PURE_READING = without_libyaml(yaml_reader)
PURE_WRITING = without_libyaml(yaml_writer)


@pytest.fixture(params=[pytest.param(yaml_reader, marks=with_libyaml), PURE_READING], ids=["libyaml", "pure"])
def reader(request):
    return request.param


def values(reader, text):
    root, problems = reader.read(text.encode(), "a.yaml")
    assert not problems, [str(problem) for problem in problems]
    return reader.plain(root)


def complaints(reader, data):
    _, problems = reader.read(data if isinstance(data, bytes) else data.encode(), "a.yaml")
    return [str(problem) for problem in problems]


def test_the_copy_without_libyaml_really_has_none():
    assert PURE_READING._Loader is yaml.SafeLoader
    assert issubclass(PURE_WRITING._Writer, yaml.SafeDumper)


# -- structure --------------------------------------------------------------------------------------------


def test_every_value_knows_its_line_and_column(reader):
    root, problems = reader.read(b"a: 1\ntasks:\n  - id: x\n    method: Y\n  - {id: z}\n", "a.yaml")
    assert not problems
    assert (root.line, root.column) == (1, 1)
    key, tasks = root.value["tasks"]
    assert (key.line, key.column, key.value) == (2, 1, "tasks")
    assert [(task.line, task.column) for task in tasks.value] == [(3, 5), (5, 5)]
    method = tasks.value[0].value["method"][1]
    assert (method.line, method.column, method.value) == (4, 13, "Y")


def test_an_unquoted_scalar_has_its_meaning_and_a_quoted_one_is_a_text(reader):
    assert values(reader, "a: 1e-3\nb: '1e-3'\nc:\nd: \"\"\n") == {
        "a": 0.001,
        "b": "1e-3",
        "c": None,
        "d": "",
    }


def test_a_number_that_json_cannot_say_is_refused_with_its_place(reader):
    assert complaints(reader, "a: [1, 1e999]") == [
        "a.yaml:1:8: a[1]: the number '1e999' is too large. Put it in quotes if it is a text."
    ]


def test_keys_are_texts_as_written(reader):
    assert values(reader, "1: a\nno: b\n~: c\n? x\n: d\n") == {"1": "a", "no": "b", "~": "c", "x": "d"}


def test_a_byte_order_mark_is_no_part_of_the_first_key(reader):
    root, problems = reader.read(b"\xef\xbb\xbfa: 1\n", "a.yaml")
    assert not problems
    assert root.value["a"][0].column == 1


def test_a_byte_order_mark_is_counted_in_no_place_and_is_no_content(reader):
    assert complaints(reader, b"\xef\xbb\xbfa\0: 1")[0].startswith("a.yaml:1:2: the character U+0000")
    assert complaints(reader, b"\xef\xbb\xbf")[0].startswith("a.yaml: the file is empty")


@pytest.mark.parametrize("escape", [r"\ud800", r"\ud83d\ude00", r"\U00110000"])
def test_an_escape_that_is_no_character_is_refused(reader, escape):
    assert len(complaints(reader, f'a: "{escape}"\n')) == 1


def test_windows_and_old_mac_line_ends_are_read(reader):
    assert values(reader, "a: 1\r\nb: 2\r\n") == {"a": 1, "b": 2}
    assert values(reader, "a: 1\rb: 2\r") == {"a": 1, "b": 2}


def test_a_merge_key_in_quotes_is_an_ordinary_key(reader):
    assert values(reader, '"<<": {a: 1}') == {"<<": {"a": 1}}


# -- anchors, aliases and merges --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "a: &x [1, {b: c}]\nb: *x\nc: [*x, *x]\n",
        "base: &base {lr: 0.1, n: 2}\na: {<<: *base}\nb: {<<: *base, lr: 0.2}\nc: {lr: 0.3, <<: *base}\n",
        "a: &a {x: 1, y: 1}\nb: &b {x: 2, z: 2}\nc: {<<: [*a, *b], w: 0}\nd: {<<: [*b, *a]}\n",
        "a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b, z: 3}\n",
        "a: {<<: {x: 1, y: 2}, y: 3}\n",
        "a: &empty\nb: *empty\n",
        "a: &key name\nb: {*key : 1}\n",
        "tasks:\n- &train {id: one, lr: 1}\n- <<: *train\n  id: two\n",
        "list: &list [{x: 1}, {y: 2}]\nb: {<<: *list}\n",
    ],
)
def test_aliases_and_merges_mean_what_they_mean_to_pyyaml(reader, text):
    ours, theirs = values(reader, text), yaml.safe_load(text)
    assert ours == theirs


def test_an_anchor_may_be_given_anew_as_yaml_says(reader):
    assert values(reader, "a: &v 1\nb: *v\nc: &v 2\nd: *v\n") == {"a": 1, "b": 1, "c": 2, "d": 2}


def test_an_aliased_value_keeps_the_place_where_it_is_written(reader):
    root, _ = reader.read(b"base: &base\n  lr: 1\na:\n  <<: *base\n", "a.yaml")
    assert root.value["a"][1].value["lr"][1].line == 2


# -- words that the two versions of YAML read differently ---------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("shuffle: no", ("1:10: warning: shuffle: no is the text 'no' here, and false to {}. "
            "Write false if you mean that, or 'no' in quotes.")),
        ("a: [Yes]", ("1:5: warning: a[0]: Yes is the text 'Yes' here, and true to {}. "
            "Write true if you mean that, or 'Yes' in quotes.")),
        ("mode: 010", ("1:7: warning: mode: 010 is the number 10 here, and the number 8 to {}. "
            "Write 8 if you mean that, or 10.")),
        ("n: 12_000", ("1:4: warning: n: 12_000 is the text '12_000' here, and the number 12000 to {}. "
            "Write 12000 if you mean that, or '12_000' in quotes.")),
        ("t: 12:30:45", ("1:4: warning: t: 12:30:45 is the text '12:30:45' here, and the number 45045 to {}. "
            "Write 45045 if you mean that, or '12:30:45' in quotes.")),
        ("m: 0o17", ("1:4: warning: m: 0o17 is the number 15 here, and the text '0o17' to {}. "
            "Write 15 if you mean the number, or '0o17' in quotes if you mean the text.")),
        ("d: 2026-11-20", ("1:4: warning: d: 2026-11-20 is the text '2026-11-20' here, and a date to {}. "
            "Put it in quotes; the task can convert the text to a date.")),
    ],
)  # fmt: skip
def test_a_word_that_yaml_1_1_reads_differently_is_warned_of(reader, text, expected):
    readers = "YAML 1.1 readers such as PyYAML and the first release"
    root, problems = reader.read(text.encode(), "a.yaml")
    assert [str(problem) for problem in problems] == [f"a.yaml:{expected.format(readers)}"]
    assert root is not None
    assert not any(problem.is_error for problem in problems)


@pytest.mark.parametrize(
    "word", ["'no'", "1e-3", "1.5e3", "true", "007", "0x1f", "+5", ".5", "1.0", "y", "~"]
)
def test_what_both_mean_alike_is_not_warned_of(reader, word):
    assert not complaints(reader, f"a: {word}\n")


@settings(max_examples=400, deadline=None)
@given(st.text("0123456789_:.+-oxbaeEnyTZ ", min_size=1, max_size=10))
def test_a_warning_comes_exactly_where_pyyaml_reads_another_value(word):
    try:
        theirs = yaml.safe_load(f"a: {word}\n")["a"]
    except Exception:  # noqa: BLE001  # no value to either, or PyYAML's own fault
        return
    root, problems = yaml_reader.read(f"a: {word}\n".encode(), "a.yaml")
    if root is None or any(problem.is_error for problem in problems):
        return
    ours = yaml_reader.plain(root)["a"]
    exponent = isinstance(ours, float) and isinstance(theirs, str)
    assert bool(problems) == (ours != theirs and not exponent), (ours, theirs)


def test_nan_and_infinity_are_floats(reader):
    found = values(reader, "a: .nan\nb: .inf\nc: -.INF\nd: +.Inf\n")
    assert str(found) == "{'a': nan, 'b': inf, 'c': -inf, 'd': inf}"


# -- refusals: the whole table of bad input, with the exact sentences ---------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("a: &base [x]\nb: *bsae\n", [
            "a.yaml:2:4: b: there is no anchor &bsae before the alias *bsae. Did you mean *base?",
        ]),
        ("a: &defaults [x]\nb: *default\n", [
            "a.yaml:2:4: b: there is no anchor &default before the alias *default. Did you mean *defaults?",
        ]),
        ("a: *.txt\n", ["a.yaml:1:4: '*' needs the name of an anchor. Put the text in quotes."]),
        ("a: & b\n", ["a.yaml:1:4: '&' needs the name of an anchor. Put the text in quotes."]),
        ("a: *later\nb: &later 1\n", [
            ("a.yaml:1:4: a: there is no anchor &later before the alias *later. "
            "Put it in quotes if it is a text."),
        ]),
        ("a: 1\nb: &b\n  c: [1, *b]\n", [
            ("a.yaml:3:10: b.c[1]: the alias *b is inside the value that it repeats, which would be endless. "
            "Write the value out."),
        ]),
        ("&root\na: *root\n", [
            ("a.yaml:2:4: a: the alias *root is inside the value that it repeats, which would be endless. "
            "Write the value out."),
        ]),
        ("b: &b\n  <<: *b\n", [
            ("a.yaml:2:7: b: the alias *b is inside the value that it repeats, which would be endless. "
            "Write the value out."),
        ]),
        ("a: 1\n<<: 2\n", [
            ("a.yaml:2:1: a merge (<<) takes a mapping, or a list of mappings. "
            "Write it as in `<<: *defaults`."),
        ]),
        ("<<: {a: 1}\n<<: {b: 1}\n", [
            "a.yaml:2:1: a second merge (<<) in one mapping. Write one, as in `<<: [*first, *second]`.",
        ]),
        ("a: &a [1]\nb: {*a : 2}\n", [
            "a.yaml:2:5: b: a key must be a text, not a list or a mapping. Write `key: value`.",
        ]),
        ("a: !!python/object/apply:os.system [x]\n", [
            "a.yaml:1:4: a: tags (!!python/object/apply:os.system) are not allowed. Write the plain value.",
        ]),
        ("a: !mine 1\n", ["a.yaml:1:4: a: tags (!mine) are not allowed. Write the plain value."]),
        ("a: !!binary aGk=\n", ["a.yaml:1:4: a: tags (!!binary) are not allowed. Write the plain value."]),
        ("lr: 1\nb: 2\nlr: 3\n", [
            "a.yaml:3:1: lr: duplicate key 'lr', already on line 1. Keep one of the two.",
        ]),
        ("t:\n  - x: 1\n    x: 2\n", [
            "a.yaml:3:5: t[0].x: duplicate key 'x', already on line 2. Keep one of the two.",
        ]),
        ("a: 1\n'a': 2\n", [
            "a.yaml:2:1: a: duplicate key 'a', already on line 1. Keep one of the two.",
        ]),
        ("? [a, b]\n: 1\n", [
            "a.yaml:1:3: a key must be a text, not a list or a mapping. Write `key: value`.",
        ]),
        ("a:\n  ? \n  : 1\n", ["a.yaml:2:4: a: a key is missing. Write `key: value`."]),
        ("a: 1\n---\nb: 2\n", ["a.yaml:2:1: a second document begins here. Keep one document in a file."]),
        ("", ["a.yaml: the file is empty. Write lines of the form `key: value`."]),
        ("# only this\n", ["a.yaml: the file is empty. Write lines of the form `key: value`."]),
        ("just words", [
            ("a.yaml:1:1: the file holds a text instead of keys with values. "
            "Write lines of the form `key: value`."),
        ]),
        ("- a\n- b\n", [
            ("a.yaml:1:1: the file holds a list instead of keys with values. "
            "Write lines of the form `key: value`."),
        ]),
        ("42", [
            ("a.yaml:1:1: the file holds a single value instead of keys with values. "
            "Write lines of the form `key: value`."),
        ]),
        (b"a\0: 1", [
            ("a.yaml:1:2: the character U+0000 cannot stand in a config. "
            'Take it out, or write it as an escape in "double quotes".'),
        ]),
        ("x: 1\na: b\u2028c", [
            ("a.yaml:2:5: the character U+2028 cannot stand in a config. "
            'Take it out, or write it as an escape in "double quotes".'),
        ]),
        ("x: 1\ncafé: 1".encode("latin-1"), [
            "a.yaml:2:4: the byte 0xe9 is not UTF-8. Save the file as UTF-8.",
        ]),
        ("a: 1".encode("utf-16"), ["a.yaml: the file is UTF-16, not UTF-8. Save it as UTF-8."]),
        (b"\x1f\x8b\x08binary", [
            "a.yaml:1:2: the byte 0x8b is not UTF-8. Save the file as UTF-8.",
        ]),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_its_place(reader, data, expected):
    assert complaints(reader, data) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a:\n\t- 1\n", "a.yaml:2:1: a tab cannot be used for indentation. Use spaces."),
        ("a: 1\n\tb: 2\n", "a.yaml:2:1: a tab cannot be used for indentation. Use spaces."),
        ("a: [1,\n  2\n", "a.yaml:1:4: the list that begins here has no ']'. Add it, or a missing comma."),
        ("a: {x: 1\n", "a.yaml:1:4: the mapping that begins here has no '}'. Add it, or a missing comma."),
        ("a: 'x\nb: 1\n", "a.yaml:1:4: the text that begins here has no closing quote. Add it."),
        ("a: 1\nb\nc: 2\n", "a.yaml:2:1: this line has no ': ' behind a key. Write `key: value`."),
        ("a: @x\n", "a.yaml:1:4: a value cannot begin with '@'. Put it in quotes if it is a text."),
        ("a: `x`\n", "a.yaml:1:4: a value cannot begin with '`'. Put it in quotes if it is a text."),
        (
            "a: b: c\n",
            (
                "a.yaml:1:5: there is a ': ' where a key is not allowed. "
                "Indent it like its neighbours, or put the value in quotes if it is a text."
            ),
        ),
        (
            "outputDir: {date}/x\n",
            (
                "a.yaml:1:18: there is text after a closing '}'. "
                "Put the whole value in quotes if it is a text."
            ),
        ),
        (
            "a:\n  - x\n y: 1\n",
            (
                "a.yaml:3:2: this line does not fit the lines above it. "
                "Indent it like its neighbours, or put the value in quotes if it is a text."
            ),
        ),
        ("a: - b\n", "a.yaml:1:4: a list cannot begin here. Begin it on a line of its own."),
        ("a: ]\n", "a.yaml:1:4: a value is missing here. Write it, or put the text in quotes."),
        (
            "a: 1\n...\nb: 2\n",
            "a.yaml:3:1: there is text after the end of the document. Keep one document in a file.",
        ),
    ],
)
def test_a_syntax_error_is_said_in_plain_words(reader, text, complaint):
    assert complaints(reader, text) == [complaint]


def test_a_wrong_escape_is_said_in_plain_words(reader):
    (complaint,) = complaints(reader, 'a: "C:\\data"\n')
    assert "a backslash begins an unknown escape. Use 'single quotes'." in complaint


def test_all_problems_of_a_file_come_in_one_go(reader):
    text = "a: *x\nb: !t 2\nc: no\nd: 1\nd: 2\ne: 1e999\n"
    assert [line.split(":")[1] for line in complaints(reader, text)] == ["1", "2", "3", "5", "6"]


def test_a_tree_with_problems_is_still_handed_out(reader):
    root, problems = reader.read(b"a: 1\na: 2\nb: 3\n", "a.yaml")
    assert len(problems) == 1
    assert reader.plain(root) == {"a": 1, "b": 3}


# -- bombs and bounds -------------------------------------------------------------------------------------

ALIAS_BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize("bomb", [ALIAS_BOMB, MERGE_BOMB], ids=["alias", "merge"])
def test_a_bomb_is_refused_at_once(reader, bomb):
    began = time.perf_counter()
    lines = complaints(reader, bomb)
    assert time.perf_counter() - began < 2
    (line,) = lines
    assert line.endswith(
        "the file has more than 20000 values, with its aliases written out. Keep data in other files."
    )


def test_a_long_text_that_is_repeated_counts_as_often(reader):
    text = f"a: &a {'x' * 1000}\nb: [{', '.join(['*a'] * 2000)}]\n"
    (line,) = complaints(reader, text)
    assert line.startswith("a.yaml:2:")
    assert line.endswith(
        "the file has more than 1048576 characters, with its aliases written out. Keep data in other files."
    )
    keys = ", ".join("{*a : 1}" for _ in range(2000))
    assert "more than 1048576 characters" in complaints(reader, f"a: &a {'x' * 1000}\nb: [{keys}]\n")[0]


def test_aliases_cannot_nest_deeper_than_the_limit(reader):
    text = "a0: &a0 [[[[1]]]]\n" + "".join(f"a{n}: &a{n} [[[[*a{n - 1}]]]]\n" for n in range(1, 12))
    (line,) = complaints(reader, text)
    assert line == "a.yaml:8:13: the values are nested deeper than 32. Make the structure flatter."


def test_errors_are_shown_before_warnings_when_there_are_many(reader):
    lines = complaints(reader, "a: [" + "no, " * 100 + "]\nb: !t 1\n")
    assert len(lines) == yaml_reader.MAX_PROBLEMS + 1
    assert "tags (!t)" in lines[-2]
    assert lines[-1] == "a.yaml: warning: there are 51 more problems. Correct these first."


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_a_hundred_thousand_brackets_end_at_depth_32(reader, opening):
    began = time.perf_counter()
    lines = complaints(reader, "a:\n  " + opening * (100_000 // len(opening)))
    assert time.perf_counter() - began < 2
    assert len(lines) == 1
    assert lines[0].endswith("the values are nested deeper than 32. Make the structure flatter.")


def test_thirty_two_levels_are_read(reader):
    text = "a: " + "[" * 31 + "]" * 31
    assert values(reader, text)
    assert complaints(reader, "a: " + "[" * 32 + "]" * 32)


def test_a_file_of_twenty_megabytes_is_refused_unread(reader):
    began = time.perf_counter()
    assert complaints(reader, b"a: 1\n" * 4_000_000) == [
        "a.yaml: the file has 20000000 bytes, and 1048576 are the most. Keep data in other files."
    ]
    assert time.perf_counter() - began < 1


def test_twenty_thousand_values_are_the_most():
    root, problems = yaml_reader.read(b"a: [" + b"1," * 19_998 + b"]", "a.yaml")
    assert root is not None
    assert not problems
    (line,) = complaints(yaml_reader, b"a: [" + b"1," * 19_999 + b"]")
    assert line.endswith("a[19998]: the file has more than 20000 values. Keep data in other files.")


@with_libyaml
def test_a_config_of_a_kilobyte_takes_well_under_a_millisecond_or_so():
    data = "".join(f"k{n}: {{id: x, method: Y, lr: 1e-3}}\n" for n in range(32))
    assert len(data) >= 1_000

    def once():
        began = time.perf_counter()
        root, _ = yaml_reader.read(data.encode(), "a.yaml")
        assert root is not None
        return time.perf_counter() - began

    best = min(once() for _ in range(20))
    assert best < 0.004, f"{best * 1000:.2f} ms"  # 0.3 ms on an idle processor


# -- laws -------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.text("[]{}:,-?&*!|>'\"%@`#~<= \t\nab1.\\ux\u0085é", max_size=40)))
def test_whatever_the_bytes_the_answer_is_a_tree_or_problems(data):
    raw = data if isinstance(data, bytes) else data.encode()
    for reader in (yaml_reader, PURE_READING):
        root, problems = reader.read(raw, "a.yaml")
        assert root is not None or problems
        assert all(problem.what and problem.line >= 0 for problem in problems)
        if root is not None:
            assert isinstance(reader.plain(root), dict)


WORDS = ["1e5", "no", "010", "1:30", "~", "", "=", "<<", "0o17", "2026-11-20", "1_000", ".inf", "null", "y"]
SIGNS = [
    "'",
    '"',
    "|",
    "%",
    "@",
    "`",
    "!",
    "&",
    "*",
    "?",
    ":",
    "-",
    "---",
    "...",
    "#x",
    "a #b",
    "- a",
    "a: b",
]
SPACES = [
    "x\ny",
    "x\n\ny\n",
    " x",
    "x ",
    "\n",
    "\tx",
    "x\r\ny",
    "\u0085",
    "\u2028",
    "\ufeff",
    "\x07",
    "A" * 200,
]
awkward = st.sampled_from([*WORDS, *SIGNS, *SPACES, "0x1f", "1.", "+1", "é", "😀"])
texts = st.one_of(awkward, st.text(max_size=12))
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts
)
json_values = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3))
)
mappings = st.dictionaries(texts, json_values, max_size=5)


def exactly(value):
    """A form that tells 1 from 1.0 and True, and sees the order of keys."""
    if isinstance(value, dict):
        return [(key, exactly(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        return [exactly(inner) for inner in value]
    return type(value).__name__, value


@settings(max_examples=250, deadline=None)
@given(mappings)
def test_what_is_written_is_read_back_the_same_by_us_and_by_pyyaml(written):
    for writer in (yaml_writer, PURE_WRITING):
        data = writer.to_yaml(written, "made by a test\nof two lines")
        root, problems = yaml_reader.read(data, "a.yaml")
        assert not problems, [str(problem) for problem in problems]
        assert exactly(yaml_reader.plain(root)) == exactly(written)
        assert exactly(yaml.safe_load(data)) == exactly(written)


def test_written_yaml_is_for_people():
    data = yaml_writer.to_yaml(
        {"b": 1, "a": ["x", "no", "1e5"], "genes": "AAA\nBBB\n", "name": "Zoë"}, "first\nsecond \x1b[31m"
    )
    assert data.decode() == (
        "# first\n# second \\x1b[31m\nb: 1\na:\n- x\n- 'no'\n- '1e5'\ngenes: |\n  AAA\n  BBB\nname: Zoë\n"
    )


def test_a_value_that_stands_twice_is_written_twice():
    shared = ["x"]
    assert yaml_writer.to_yaml({"a": shared, "b": shared}).decode() == "a:\n- x\nb:\n- x\n"
