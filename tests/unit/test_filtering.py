"""The expressions of ``--filter``: what they mean, and what is said of those that mean nothing."""

import operator
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_orchestration.config.expressions import MOST_CHARACTERS, FilterError, parse

RUN = {
    "model": "Conv",
    "epochs": 5,
    "lr": 0.01,
    "tags": ["a", "b"],
    "note": None,
    "shuffle": True,
    "train": {"lr": 0.5, "deep": {"er": 1}},
    "fit.score": 0.9,
    "my-task": {"x": 1},
    "größe": 3,
}


@pytest.mark.parametrize(
    "text",
    [
        'model == "Conv" and epochs > 3',
        "model == 'Conv'",
        "epochs > 3 and not lr > 0.1",
        "epochs == 4 or epochs == 5",
        "not epochs == 4",
        "1 < epochs <= 5",
        "epochs in [4, 5]",
        "epochs in (4, 5,)",
        "epochs not in (1,)",
        "(epochs > 3) and (model != 'x')",
        "'a' in tags",
        "'on' in model",
        "'lr' in train",
        "'c' not in tags",
        "note is null and nothing is null",
        "model is not null and not (note is not null)",
        "note == None and note == null",
        "shuffle",
        "shuffle == True and shuffle != false",
        "train.lr == .5 and train.deep.er == 1",
        "fit.score >= 9e-1",
        "`my-task.x` == 1",
        "größe == 3",
        "lr * epochs + 1 == 1.05",
        "-lr < 0 and - -epochs == 5 and epochs % 2 == 1",
        "tags == ['a', 'b']",
        "epochs - 1 - 1 == 3",
        "1 + 2 * 3 == 7 and (1 + 2) * 3 == 9",
        r"'it\'s\n' == " + r'"it\'s\n"',
    ],
)
def test_what_is_true_is_true(text):
    assert parse(text).matches(RUN)


@pytest.mark.parametrize(
    "text",
    [
        "absent == 1",
        "absent != 1",
        "absent == absent",
        "absent in [1]",
        "absent not in [1]",
        "1 in [1, absent]",
        "absent > 0",
        "absent",
        "absent is not null",
        "epochs / 0 == epochs / 0",
        "model * 2 == model * 2",
        "model < 3 or model > 3",
        "note < 1",
        "tags < tags",
        "1 in 2 or 1 not in 2",
        "train.absent == 1",
        "model.x == 1",
        "1e308 * 10 > 0",
    ],
)
def test_what_is_missing_or_has_no_order_is_false_in_every_comparison(text):
    assert not parse(text).matches(RUN)


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("", 1, "missing"),
        ("epochs >", 9, "missing"),
        ("epochs = 3", 8, "Write =="),
        ("a && b", 3, "Write and"),
        ("a || b", 3, "Write or"),
        ("!a", 1, "Write not"),
        ("a == 'x", 6, "has no closing"),
        ("`a", 1, "has no closing"),
        ("(a == 1", 8, ") is missing"),
        ("[1, 2", 6, "] is missing"),
        ("a == 1)", 7, "is not allowed here"),
        ("a b", 3, "is not allowed here"),
        ("a == and", 6, "is not allowed here"),
        ("a is 3", 6, "is can only be followed by"),
        ("a == 3x", 6, "cannot be part"),
        ("a == $", 6, "cannot be part"),
        ("a == 1e999", 6, "too large"),
        ("a == 'x\\d'", 8, "not a known escape"),
        ("a.b()", 4, "is not allowed here"),
        ("__import__('os')", 11, "is not allowed here"),
        ("a ** 2", 4, "is not allowed here"),
        ("lambda: 1", 7, "cannot be part"),
    ],
)
def test_a_mistake_is_reported_with_its_column(text, column, says):
    with pytest.raises(FilterError) as raised:
        parse(text)
    assert raised.value.column == column
    assert str(raised.value).startswith(f"column {column}: ")
    assert says in str(raised.value)


@pytest.mark.parametrize("opening", ["(", "[", "not ", "-", "(1, "])
def test_depth_is_bounded(opening):
    with pytest.raises(FilterError, match="too deeply"):
        parse(opening * 300 + "a")


def test_length_and_numbers_are_bounded():
    with pytest.raises(FilterError, match="more than"):
        parse("a" * (MOST_CHARACTERS + 1))
    began = time.monotonic()
    assert not parse("*".join(["a"] * 900) + " > 0").matches({"a": 10**4000})
    assert time.monotonic() - began < 5


def test_a_filter_knows_which_keys_it_asks_for():
    assert parse("a == 2 and train.lr > 0.01 or `x y` in [b]").names == {"a", "train.lr", "x y", "b"}


# -- laws -------------------------------------------------------------------------------------------------

WORDS = [
    "(",
    ")",
    "[",
    "]",
    ",",
    "not",
    "and",
    "or",
    "in",
    "is",
    "null",
    "==",
    "<",
    "-",
    "a.b",
    "'x'",
    "3",
    "`q`",
]
NAMES = ["a", "b", "train.lr", "none"]
COMPARISONS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
numbers = st.integers(-9, 9) | st.floats(-9, 9).map(lambda x: round(x, 2))
comparisons = st.tuples(st.sampled_from(NAMES[:3]), st.sampled_from(sorted(COMPARISONS)), numbers)


def printed(tree):
    """An expression as text and as a function of Python's own."""
    match tree:
        case (str(name), str(sign), number) if sign in COMPARISONS:
            return f"{name} {sign} {number}", lambda values: COMPARISONS[sign](values[name], number)
        case ("not", inner):
            text, means = printed(inner)
            return f"not ({text})", lambda values: not means(values)
        case (word, left, right):
            (text_1, means_1), (text_2, means_2) = printed(left), printed(right)
            join = all if word == "and" else any
            return f"({text_1}) {word} ({text_2})", lambda v: join([means_1(v), means_2(v)])


trees = st.recursive(
    comparisons,
    lambda inner: st.tuples(st.just("not"), inner) | st.tuples(st.sampled_from(["and", "or"]), inner, inner),
    max_leaves=8,
)


@given(trees, st.tuples(numbers, numbers, numbers))
def test_an_expression_means_what_it_would_mean_in_python(tree, values):
    text, means = printed(tree)
    given_values = dict(zip(NAMES, values, strict=False))
    assert parse(text).matches(given_values) is means(given_values)


@given(
    st.recursive(
        numbers.map(str), lambda e: st.tuples(e, st.sampled_from("+-*"), e).map(" ".join), max_leaves=9
    )
)
def test_arithmetic_binds_and_reckons_as_in_python(text):
    assert parse(f"{text} == x").matches({"x": eval(text)})  # the text is our own


@given(st.text(max_size=40) | st.lists(st.sampled_from(WORDS)).map(" ".join))
def test_any_text_is_understood_or_refused_with_a_column(text):
    try:
        column, matched = 1, parse(text).matches({})
    except FilterError as error:
        column, matched = error.column, False
    assert 1 <= column <= len(text) + 1
    assert matched in {True, False}


@given(st.text())
def test_every_text_can_be_asked_for(value):
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    assert parse(f'x == "{escaped}"').matches({"x": value})
