"""Two contents of a file are identical, equal within a tolerance, or different, and where is said."""

from __future__ import annotations

import gzip
import io
import json
import pickle
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from job_orchestration.comparison import file_comparison
from job_orchestration.comparison.deviations import ATOL, RTOL, Comparison, Tolerance, Verdict

IDENTICAL, EQUAL, DIFFERENT = Verdict.IDENTICAL, Verdict.EQUAL, Verdict.DIFFERENT


def compare(name: str, before: bytes, after: bytes, rtol: float = RTOL, atol: float = ATOL) -> Comparison:
    return file_comparison.compare(name, before, after, Tolerance(rtol, atol))


def table(rows: dict[str, float], head: str = "gene\tscore") -> bytes:
    return "".join(f"{line}\n" for line in [head, *(f"{k}\t{v!r}" for k, v in rows.items())]).encode()


GENES = {"BRCA1": 0.5, "TP53": 0.25, "MYC": 1e-30}


def test_a_change_of_one_part_in_a_trillion_is_equal_and_a_missing_row_is_different() -> None:
    assert compare("a.tsv", table(GENES), table(GENES)).verdict is IDENTICAL
    found = compare("a.tsv", table(GENES), table(GENES | {"TP53": 0.25 + 1e-12}))
    assert (found.verdict, found.method, found.count) == (EQUAL, "table by gene", 1)
    assert found.first[0].where == "gene TP53, column score"
    assert found.greatest == pytest.approx(1e-12, rel=1e-3)
    without = {k: v for k, v in GENES.items() if k != "TP53"}
    found = compare("a.tsv", table(GENES), table(without))
    assert (found.verdict, found.count) == (DIFFERENT, 1)
    assert (found.first[0].where, found.first[0].after) == ("gene TP53", "(absent)")
    found = compare("a.tsv", table(without), table(GENES))
    assert (found.first[0].where, found.first[0].before) == ("gene TP53", "(absent)")


def test_a_small_p_value_is_not_equal_to_another_small_one() -> None:
    assert compare("a.tsv", table(GENES), table(GENES | {"MYC": 1e-20})).verdict is DIFFERENT
    assert compare("a.tsv", table(GENES), table(GENES | {"MYC": 1e-20}), atol=1e-12).verdict is EQUAL


def test_rows_belong_together_by_their_key_in_whatever_order() -> None:
    found = compare("a.tsv", table(GENES), table(dict(reversed(GENES.items()))))
    assert (found.verdict, found.count, found.remark) == (EQUAL, 0, "the rows are in another order")
    numbered = "n,score,gene\n1,0.5,A\n2,0.25,B\n"
    swapped = "n,score,gene\n1,0.25,B\n2,0.75,A\n"
    found = compare("a.csv", numbered.encode(), swapped.encode())
    assert found.method == "table by gene", "neither a decimal number nor a count of the rows names a row"
    places = {place.where for place in found.first}
    assert places == {"gene A, column n", "gene B, column n", "gene A, column score"}
    found = compare("a.csv", b"x,y\n1.5,2\n1.5,3\n", b"x,y\n1.5,2\n1.5,4\n")
    assert (found.method, found.first[0].where) == ("table by y", "y 3")
    found = compare("a.csv", b"x,y\n1.5,2\n1.5,2\n", b"x,y\n1.5,2\n1.5,4\n")
    assert (found.method, found.first[0].where) == ("table by row", "row 2, column y")


def test_columns_that_only_one_table_has_are_named() -> None:
    found = compare("a.tsv", table(GENES), table(GENES, "gene\tvalue"))
    assert [place.where for place in found.first] == ["column score", "column value"]


def test_whole_numbers_have_no_tolerance() -> None:
    assert compare("a.json", b'{"n": 100000000}', b'{"n": 100000001}').verdict is DIFFERENT
    assert compare("a.csv", b"k,n\na,100000000\n", b"k,n\na,100000001\n").verdict is DIFFERENT
    assert compare("a.json", b'{"n": 100000000.0}', b'{"n": 100000001.0}').verdict is EQUAL
    assert compare("a.npy", _npy(np.array([10**8])), _npy(np.array([10**8 + 1]))).verdict is DIFFERENT


@pytest.mark.parametrize(
    ("before", "after", "verdict", "where"),
    [
        ({"a": [1, 2.0]}, {"a": [1, 2.0 + 1e-12]}, EQUAL, "a[1]"),
        ({"a": [1, 2]}, {"a": [1, 2, 3]}, DIFFERENT, "a[2]"),
        ({"a": {"b": "x"}}, {"a": {"b": "y"}}, DIFFERENT, "a.b"),
        ({"a": True}, {"a": 1}, DIFFERENT, "a"),
        ({"a": None}, {"a": 0}, DIFFERENT, "a"),
        ({"a": 1}, {"b": 1}, DIFFERENT, "a"),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, EQUAL, None),
    ],
)
def test_json_is_compared_by_structure(before: Any, after: Any, verdict: Verdict, where: str | None) -> None:
    found = compare("a.json", json.dumps(before).encode(), json.dumps(after).encode())
    assert (found.verdict, found.first[0].where if found.first else None) == (verdict, where)


def test_other_structures_are_read_too() -> None:
    assert compare("a.yaml", b"a: 1.0\nb: [x]\n", b"b:\n- x\na: 1.0\n").verdict is EQUAL
    assert (
        compare("a.jsonl", b'{"a": 1.0}\n{"a": 2}\n', b'{"a": 1.0}\n{"a": 3}\n').first[0].where == "line 2.a"
    )
    packed = [gzip.compress(data, mtime=n) for n, data in enumerate([table(GENES), table(GENES)])]
    assert compare("a.tsv.gz", *packed).verdict is EQUAL


def _npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_arrays_are_compared_element_by_element() -> None:
    old = np.linspace(0.5, 1, 200).reshape(20, 10)
    new = old.copy()
    new[3, 4] += 1e-12
    found = compare("a.npy", _npy(old), _npy(new))
    assert (found.verdict, found.count, found.first[0].where) == (EQUAL, 1, "[3, 4]")
    new[5:7] += 0.1
    found = compare("a.npy", _npy(old), _npy(new))
    assert (found.verdict, found.count, len(found.first)) == (DIFFERENT, 20, 10)
    assert (found.first[0].where, found.greatest) == ("[5, 0]", pytest.approx(0.1))
    assert compare("a.npy", _npy(old), _npy(old.T)).first[0].after == "float64 (10, 20)"
    nan = np.where(old > 0.9, np.nan, old)
    assert compare("a.npz", _npz(a=nan), _npz(a=nan, b=old)).first[0].where == "b"
    assert compare("a.npz", _npz(a=nan), _npz(a=old)).verdict is DIFFERENT
    texts = compare("a.npy", _npy(np.array(["a", "b"])), _npy(np.array(["a", "c"])))
    assert (texts.count, texts.first[0].where) == (1, "[1]")


def test_a_pickle_in_an_array_is_not_read() -> None:
    class Boom:
        def __reduce__(self) -> Any:
            return pytest.fail, ("a pickle was executed",)

    files = [
        _npy(np.array([1.0])),
        b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    ]
    files[1] = files[1].ljust(127) + b"\n" + pickle.dumps([Boom()])
    found = compare("a.npy", *files)
    assert (found.verdict, found.method) == (DIFFERENT, "bytes")
    assert "cannot be read as its name says" in found.remark


def test_parquet_files_are_compared_as_tables() -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

    def made(scores: list[float]) -> bytes:
        file = io.BytesIO()
        pq.write_table(pa.table({"gene": ["A", "B"], "score": scores}), file)
        return file.getvalue()

    assert compare("a.parquet", made([0.5, 1.0]), made([0.5, 1.0 + 1e-12])).verdict is EQUAL
    found = compare("a.parquet", made([0.5, 1.0]), made([0.5, 2.0]))
    assert (found.method, found.first[0].where) == ("table by gene", "gene B, column score")


def test_images_are_compared_by_their_pixels() -> None:
    def made(pixel: int, **options: Any) -> bytes:
        image = Image.new("RGB", (8, 6), (200, 10, 10))
        image.putpixel((3, 2), (pixel, 10, 10))
        file = io.BytesIO()
        image.save(file, "png", **options)
        return file.getvalue()

    assert compare("a.png", made(200), made(200, compress_level=0)).verdict is EQUAL
    found = compare("a.png", made(200), made(201))
    assert (found.verdict, found.first[0].where) == (DIFFERENT, "from (3, 2) to (4, 3)")


@pytest.mark.parametrize(
    "name", ["a.json", "a.npy", "a.npz", "a.png", "a.tsv", "a.yaml", "a.parquet", "a.json.gz", "a"]
)
@hypothesis.settings(max_examples=25)
@hypothesis.given(st.binary(max_size=64), st.binary(max_size=64))
def test_whatever_a_file_holds_it_gets_a_verdict(name: str, before: bytes, after: bytes) -> None:
    found = compare(name, before, after)
    assert (found.verdict is IDENTICAL) == (before == after)
    assert found.as_json()["verdict"] == str(found.verdict)


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ("007", "7", DIFFERENT),
        ("12345678901234567890", "12345678901234567891", DIFFERENT),
        ("9223372036854775808", "9223372036854775808.0", EQUAL),
        ("7", "7.0", EQUAL),
        ("0", "0.0", EQUAL),
        ("0.5", "0.50000000001", EQUAL),
    ],
)
def test_what_names_something_counts_digit_by_digit(before: str, after: str, verdict: Verdict) -> None:
    old, new = (f"gene\tsample\nBRCA1\t{text}\n".encode() for text in (before, after))
    assert compare("a.tsv", old, new).verdict is verdict
