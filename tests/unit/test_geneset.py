"""Gene lists as people write them, and what becomes of each name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("geneplexus", reason="the extra [geneplexus] is not installed")

from job_orchestration.geneplexus import gene_lists
from job_orchestration.geneplexus.gene_names import GenesetError
from job_orchestration.geneplexus.geneset import Identifiers, conversion_table, digest, map_genes


def parse_genes(value):
    return gene_lists.read(value).genes


NAMES = st.text("ABCXYZ0123456789-'.@_/", min_size=1, max_size=12)
SEPARATORS = st.sampled_from([",", ";", " ", "\t", "\n", "\r\n", "\r", ", ", " ;\n", "\u00a0"])


@pytest.mark.parametrize(
    "text",
    [
        "BBS1,BBS2,BBS4",
        "BBS1;BBS2; BBS4",
        "BBS1 BBS2\tBBS4",
        "BBS1\nBBS2\nBBS4\n\n",
        "BBS1\r\nBBS2\r\nBBS4\r\n",
        "BBS1\rBBS2\rBBS4",
        "\ufeffBBS1\n\ufeffBBS2\nBBS4",
        "'BBS1', \"BBS2\", \u201cBBS4\u201d",
        "'BBS1 BBS2 BBS4'",
        "bbs1 Bbs2 BBS4 bbs1",
        "# a list\nBBS1\n  # second\nBBS2 # why not\nBBS4",
        "BBS1\u200b \u00a0BBS2,,BBS4,",
    ],
)
def test_a_list_is_read_however_it_is_separated(text):
    assert parse_genes(text) == ("BBS1", "BBS2", "BBS4")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (" BBS2", "BBS2"),
        ("BBS4\r", "BBS4"),
        ("0583", "583"),
        ("583.0", "583"),
        ("583.", "583"),
        ("000", "0"),
        ("ENSG00000166246.14", "ENSG00000166246"),
        ("ensmusp00000001.2", "ENSMUSP00000001"),
        ("F15B10.1", "F15B10.1"),
        ("12-LOX", "12-LOX"),
    ],
)
def test_what_geneplexus_would_silently_lose_is_tidied(written, meant):
    assert parse_genes(written) == (meant,)


def test_b_gp_05_an_apostrophe_inside_a_name_stays():
    assert parse_genes("5'-NT 'ADA' \"5'-NT\"") == ("5'-NT", "ADA")


def test_a_text_is_never_split_into_letters():
    assert parse_genes("BBS1") == ("BBS1",)


def test_a_list_may_hold_numbers_and_whole_lines():
    assert parse_genes([585, "BBS1, BBS2", 583.0, "0583"]) == ("585", "BBS1", "BBS2", "583")


@pytest.mark.parametrize("entry", [None, True, 1.5, float("nan"), float("inf"), ["BBS1"], {"BBS1": 1}])
def test_an_entry_that_is_no_gene_is_refused_with_its_number(entry):
    with pytest.raises(GenesetError, match="Entry 2 of the gene list"):
        parse_genes(["BBS1", entry])


@pytest.mark.parametrize("value", [None, 5, True, {"BBS1": "BBS2"}])
def test_what_is_neither_text_nor_list_is_refused(value):
    with pytest.raises(GenesetError, match="A gene list is a text or a list"):
        parse_genes(value)


@given(st.lists(NAMES), st.data())
def test_reading_a_list_again_changes_nothing(names, data):
    text = "".join(name + data.draw(SEPARATORS) for name in names)
    once = parse_genes(text)
    assert parse_genes(list(once)) == once
    assert parse_genes("\n".join(once)) == once


@given(st.lists(NAMES))
def test_a_text_and_a_list_of_the_same_names_are_the_same(names):
    assert parse_genes(names) == parse_genes(", ".join(names))


@given(st.text())
def test_no_text_breaks_the_reader_and_no_name_is_empty_or_doubled(text):
    try:
        genes = parse_genes(text)
    except GenesetError:
        return  # a table of numbers
    assert all(genes)
    assert len(set(genes)) == len(genes)


def test_the_digest_is_of_the_tidied_list():
    assert digest(parse_genes("bbs1, 0583")) == digest(("BBS1", "583"))
    assert digest(("A", "BC")) != digest(("AB", "C"))


@pytest.fixture
def identifiers():
    to_entrez = {
        "ENSG": {"ENSG1": ["1"]},
        "Symbol": {"A1bg": ["1"], "12-LOX": ["239", "246"], "TWICE": ["7"], "NONE": []},
        "ENSP": {"TWICE": ["8"], "ENSP1": ["1"]},
        "ENST": {},
    }
    names = {"1": ["alpha"], "239": ["lox, one"], "246": ["lox two"], "7": ["seven"]}
    return Identifiers.of_tables(to_entrez, names, {"1", "7", "8", "239", "246", "300"})


def test_every_name_meets_exactly_one_fate(identifiers):
    genes = ("A1BG", "12-LOX", "ENSP1", "300", "301", "TWICE", "NONE", "JUNK")
    mapped = map_genes(genes, identifiers, {"1", "239", "246", "8"})
    assert mapped.positives == ("1", "239", "246")
    assert mapped.unmapped == ("301", "NONE", "JUNK")
    assert mapped.ambiguous == {"12-LOX": ("239", "246")}
    assert mapped.not_in_network == ("300", "TWICE")  # a symbol is looked up before a protein
    assert mapped.counts == {
        "input": 8,
        "mapped": 5,
        "unmapped": 3,
        "ambiguous": 1,
        "not_in_network": 2,
        "positives": 3,
    }


def test_an_ambiguous_name_has_a_row_for_each_gene(identifiers):
    mapped = map_genes(("12-LOX", "300", "JUNK"), identifiers, {"239", "246"})
    rows = conversion_table(mapped, identifiers, "STRING")
    assert [tuple(row.values()) for row in rows] == [
        ("12-LOX", "239", "lox, one", "Y"),
        ("12-LOX", "246", "lox two", "Y"),
        ("300", "300", "N/A", "N"),
        ("JUNK", "Could Not be mapped to Entrez", "None", "N"),
    ]
    assert list(rows[0]) == ["Original ID", "Entrez ID", "Gene Name", "In STRING?"]
