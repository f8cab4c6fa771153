"""Strict YAML: what is read, what is refused and in which words, with libyaml and without it."""

from __future__ import annotations

import importlib.util
import sys
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from job_orchestration.rules import reading, writing

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


PURE_READING = without_libyaml(reading)
PURE_WRITING = without_libyaml(writing)


@pytest.fixture(params=[pytest.param(reading, marks=with_libyaml), PURE_READING], ids=["libyaml", "pure"])
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


# -- refusals: the whole table of bad input, with the exact sentences ---------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("a: &a0 [x]\nb: *a0\n", [
            "a.yaml:1:4: a: anchors (&a0) are not allowed. Write the value out where it is used.",
            "a.yaml:2:4: b: aliases (*a0) are not allowed. Write the value out.",
        ]),
        ("a: 1\n<<: {b: 2}\n", ["a.yaml:2:1: merges (<<) are not allowed. Write the keys out."]),
        ("a: !!python/object/apply:os.system [x]\n", [
            "a.yaml:1:4: a: tags (!!python/object/apply:os.system) are not allowed. Write the plain value.",
        ]),
        ("a: !mine 1\n", ["a.yaml:1:4: a: tags (!mine) are not allowed. Write the plain value."]),
        ("a: !!binary aGk=\n", ["a.yaml:1:4: a: tags (!!binary) are not allowed. Write the plain value."]),
        ("lr: 1\nb: 2\nlr: 3\n", [
            "a.yaml:3:1: lr: duplicate key 'lr', which line 1 has already. Keep one of the two.",
        ]),
        ("t:\n  - x: 1\n    x: 2\n", [
            "a.yaml:3:5: t[0].x: duplicate key 'x', which line 2 has already. Keep one of the two.",
        ]),
        ("a: 1\n'a': 2\n", [
            "a.yaml:2:1: a: duplicate key 'a', which line 1 has already. Keep one of the two.",
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
        ("a: 'x\nb: 1\n", "a.yaml:1:4: a text in quotes begins here and never ends. Add its quote."),
        ("a: 1\nb\nc: 2\n", "a.yaml:2:1: this line has no ': ' behind a key. Write `key: value`."),
        ("a: @x\n", "a.yaml:1:4: a value cannot begin with '@'. Put it in quotes if it is a text."),
        ("a: `x`\n", "a.yaml:1:4: a value cannot begin with '`'. Put it in quotes if it is a text."),
        (
            "a: b: c\n",
            (
                "a.yaml:1:5: a ': ' stands where no key can be. "
                "Indent it like its neighbours, or put the value in quotes if it is a text."
            ),
        ),
        (
            "outputDir: {date}/x\n",
            (
                "a.yaml:1:18: something stands behind a closing '}'. "
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
            "a.yaml:3:1: something stands behind the end of the document. Keep one document in a file.",
        ),
    ],
)
def test_a_syntax_error_is_said_in_plain_words(reader, text, complaint):
    assert complaints(reader, text) == [complaint]


def test_a_wrong_escape_is_said_in_plain_words(reader):
    (complaint,) = complaints(reader, 'a: "C:\\data"\n')
    assert "a backslash begins an escape that YAML does not know. Use 'single quotes'." in complaint


def test_all_problems_of_a_file_come_in_one_go(reader):
    text = "a: &x 1\nb: !t 2\nc: *x\nd: 1\nd: 2\ne: .nan\n"
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
    assert lines[0] == "a.yaml:1:5: a0: anchors (&a0) are not allowed. Write the value out where it is used."
    assert len(lines) == reading.MAX_PROBLEMS + 1
    assert lines[-1].endswith("more problems. Mend these first.")


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
    root, problems = reading.read(b"a: [" + b"1," * 19_998 + b"]", "a.yaml")
    assert root is not None
    assert not problems
    (line,) = complaints(reading, b"a: [" + b"1," * 19_999 + b"]")
    assert line.endswith("a[19998]: the file has more than 20000 values. Keep data in other files.")


@with_libyaml
def test_a_config_of_a_kilobyte_takes_well_under_a_millisecond_or_so():
    data = "".join(f"k{n}: {{id: x, method: Y, lr: 1e-3}}\n" for n in range(32))
    assert len(data) >= 1_000

    def once():
        began = time.perf_counter()
        root, _ = reading.read(data.encode(), "a.yaml")
        assert root is not None
        return time.perf_counter() - began

    best = min(once() for _ in range(20))
    assert best < 0.004, f"{best * 1000:.2f} ms"  # 0.3 ms when nobody else wants the processor


# -- laws -------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.text("[]{}:,-?&*!|>'\"%@`#~<= \t\nab1.\\ux\u0085é", max_size=40)))
def test_whatever_the_bytes_the_answer_is_a_tree_or_problems(data):
    raw = data if isinstance(data, bytes) else data.encode()
    for reader in (reading, PURE_READING):
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
    for writer in (writing, PURE_WRITING):
        data = writer.to_yaml(written, "made by a test\nof two lines")
        root, problems = reading.read(data, "a.yaml")
        assert not problems, [str(problem) for problem in problems]
        assert exactly(reading.plain(root)) == exactly(written)
        assert exactly(yaml.safe_load(data)) == exactly(written)


def test_written_yaml_is_for_people():
    data = reading.to_yaml(
        {"b": 1, "a": ["x", "no", "1e5"], "genes": "AAA\nBBB\n", "name": "Zoë"}, "first\nsecond \x1b[31m"
    )
    assert data.decode() == (
        "# first\n# second \\x1b[31m\nb: 1\na:\n- x\n- 'no'\n- '1e5'\ngenes: |\n  AAA\n  BBB\nname: Zoë\n"
    )


def test_a_value_that_stands_twice_is_written_twice():
    shared = ["x"]
    assert reading.to_yaml({"a": shared, "b": shared}).decode() == "a:\n- x\nb:\n- x\n"
