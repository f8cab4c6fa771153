"""Which names of a text are read as genes, and what is left out, for texts of every form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("geneplexus", reason="the extra [geneplexus] is not installed")

from job_orchestration.geneplexus import gene_lists, species_signs, spreadsheet_dates
from job_orchestration.geneplexus.gene_lists import Wanted
from job_orchestration.geneplexus.gene_names import GenesetError

GENES = ["BBS1", "BBS2", "BBS4", "BBS5", "BBS7", "BBS9", "ARL6", "MKKS"]
ENTREZ = {"BBS1": "582", "BBS2": "583", "BBS4": "585", "BBS5": "129880", "BBS7": "55212", "BBS9": "27241"}
ENTREZ |= {"ARL6": "84100", "MKKS": "8195", "A1BG": "1", "A2M": "2", "NAT1": "9"}
SPLIT = ("BBS1", "BBS2", "BBS4", "BBS5")


def find(name):
    """The Entrez ids of a name, as the data tell them."""
    if name.isdigit():
        return (name,) if name in ENTREZ.values() else ()
    return (ENTREZ[name],) if name in ENTREZ else ()


def rows(*columns, separator="\t"):
    return "\n".join(separator.join(cells) for cells in zip(*columns, strict=True))


@pytest.mark.parametrize(
    ("text", "genes", "source"),
    [
        (rows(GENES, "12345678"), GENES, "column 1 of 2 columns"),
        (rows("12912912", GENES), GENES, "column 2 of 2 columns"),
        ("name,id\n" + rows(GENES, "12912912", separator=","), GENES, "column name of 2 columns"),
        ("id,label\n" + rows("12912912", GENES, separator=","), GENES, "column label of 2 columns"),
        ("a b\nBBS1 0.5\nBBS2 0.1", ["BBS1", "BBS2"], "column a of 2 columns"),
        ("baseMean\tpadj\n" + rows(GENES, "12345678", "12345678"), GENES, "column 1 of 3 columns"),
        ("#gene\tscore\n" + rows(GENES, "12345678"), GENES, "column gene of 2 columns"),
        ("entrez;symbol\n582;BBS1\n583;BBS2", ["BBS1", "BBS2"], "column symbol of 2 columns"),
        ("Entrez ID,count\n582,1\n583,2", ["582", "583"], "column Entrez ID of 2 columns"),
        ("582\t0.93\n583\t0.1", ["582", "583"], "column 1 of 2 columns"),
        ("BBS1,582\nBBS2,583", ["BBS1", "BBS2"], "column 1 of 2 columns"),
        ("gene;p\nBBS1 /// BBS2;0,5\nBBS4;0,25", ["BBS1", "BBS2", "BBS4"], "column gene of 2 columns"),
        ("gene,p\nNOSUCH,1\nBBS1,9\n", ["NOSUCH", "BBS1"], "column gene of 2 columns"),
        ("NOSUCH,1\nNOTHING,9\n", ["NOSUCH", "NOTHING"], "column 1 of 2 columns"),
        ('"BBS1","a, ""b"" c",9\n"BBS2","d",9\n', ["BBS1", "BBS2"], "column 1 of 3 columns"),
        ("BBS1 BBS2 BBS4\nBBS5 BBS7 BBS9", ["BBS1", "BBS2", "BBS4", "BBS5", "BBS7", "BBS9"], "a list"),
        ("BBS1,\nBBS2,\nBBS4,", ["BBS1", "BBS2", "BBS4"], "a list"),
        ("582 583 585\n129880", ["582", "583", "585", "129880"], "a list"),
        ("582,583,585\n55212,27241,8195", ["582", "583", "585", "55212", "27241", "8195"], "a list"),
        ("BBS1, 583\n585, BBS2", ["BBS1", "583", "585", "BBS2"], "a list"),
        ("Gene Symbol\nBBS1\nBBS2", ["BBS1", "BBS2"], "a list"),
    ],
)
def test_only_the_gene_column_of_a_table_is_read(text, genes, source):
    read = gene_lists.read(text, find)
    assert (list(read.genes), read.source) == (genes, source)


@pytest.mark.parametrize(
    ("text", "wanted", "sentence"),
    [
        ("582,1\n583,2\n585,9", Wanted(), "The columns 1, 2 of the table could all be genes"),
        ("1 582\n2 583\n9 585", Wanted(), "could all be genes. Choose one with geneColumn: "),
        ("a,b,score\nBBS1,BBS2,3\nBBS4,BBS5,4", Wanted(), "The columns a, b of the table could all be genes"),
        ("aa,bb,1\ncc,dd,2", Wanted(), "none of its columns (1, 2, 3) holds genes"),
        ("gene,score\nBBS1,1\nBBS2,2", Wanted("scor"), "are gene, score. Did you mean score?"),
        ("gene,score\nBBS1,1\nBBS2,2", Wanted(3), "geneColumn is 3, and the columns"),
        ("BBS1\nBBS2", Wanted("score"), "the genes are a list and no table"),
        ("BBS1 BBS2", Wanted(is_gmt=True), "no line has a name, a description and genes"),
        ("A\tna\tBBS1\nA\tna\tBBS2", Wanted(gene_set="A"), "several gene sets have this name (lines 1, 2)"),
    ],
)
def test_what_leaves_the_genes_open_is_refused_with_what_to_do(text, wanted, sentence):
    with pytest.raises(GenesetError) as caught:
        gene_lists.read(text, find, wanted)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("column", ["b", "B ", 2, "2"])
def test_the_config_chooses_a_column_by_title_or_number(column):
    assert gene_lists.read("a,b,n\nx,BBS1,1\ny,BBS2,2", find, Wanted(column)).genes == ("BBS1", "BBS2")


@given(st.lists(st.integers(0, 10**6), min_size=len(GENES), max_size=len(GENES)), st.sampled_from("\t,; "))
def test_no_number_of_another_column_becomes_a_gene(numbers, separator):
    for text in (
        rows(GENES, map(str, numbers), separator=separator),
        rows(map(str, numbers), GENES, separator=separator),
    ):
        assert list(gene_lists.read(text, find).genes) == GENES


def test_everything_left_out_has_a_line_and_a_reason():
    text = "Table S1\n\ngene,p\nBBS1,1\nNA,2\n,3\nbbs1,4\n"
    read = gene_lists.read(text, find)
    assert [(one.line, one.name, one.reason, one.advice) for one in read.dropped] == [
        (0, "p", "another column", "4 values are not read"),
        (1, "Table S1", "above the first row", ""),
        (3, "gene,p", "the titles of the columns", ""),
        (5, "NA", "no name", ""),
        (6, "", "no name", ""),
        (7, "bbs1", "repeated", "first in line 4"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "X_UP\thttps://example.org\tBBS1\tBBS2\tBBS4\tBBS5\t\t",
        "X_UP\tsome words\tBBS1\tBBS2\tBBS4\tBBS5",
        "X_UP\tna\tBBS1,1.0\tBBS2,0.5\tBBS4,1.0\tBBS5,1.0\n",
        "# made by hand\nX_UP\tX_UP\tBBS1\tBBS2\tBBS4\tBBS5\n\n",
    ],
)
def test_a_gmt_line_gives_its_genes_and_neither_name_nor_description(text):
    read = gene_lists.read(text, find)
    assert (read.genes, read.title) == (SPLIT, "X_UP")


def test_a_line_of_genes_is_no_gene_set():
    assert gene_lists.read("BBS1\tBBS2\tBBS4\tBBS5", find).genes == SPLIT


def test_gene_sets_without_descriptions_are_known_by_their_genes():
    with pytest.raises(GenesetError, match="There are 2 gene sets in this GMT file: UP, DOWN"):
        gene_lists.read("UP\tnone such\tBBS1\tBBS2\nDOWN\tx\tBBS4\tBBS5\tBBS7", find)


def test_what_begins_with_a_greater_than_sign_is_a_name_and_no_sequence_is():
    text = ">BBS1 protein\nMKVLAAGLLKWERTYYPLKHGF\nMKV\n>ENSG00000166246.14|x\n>BBS2\nBBS4"
    assert gene_lists.read(text, find).genes == ("BBS1", "ENSG00000166246", "BBS2", "BBS4")
    read = gene_lists.read("HALLMARK_X\n> Genes of a kind\nBBS1\nBBS2", find)
    assert (read.genes, read.title) == (("BBS1", "BBS2"), "HALLMARK_X")


@pytest.mark.parametrize(
    ("written", "symbols"),
    [
        ("MAR-02", ("MARCH2 (now MARCHF2)", "MARC2 (now MTARC2)")),
        ("1-SEP", ("SEPT1 (now SEPTIN1)",)),
        ("01-SEP-22", ("SEPT1 (now SEPTIN1)",)),
        ("15-SEP", ("SEP15 (now SELENOF)",)),
        ("44621", ("MARCH1 (now MARCHF1)", "MARC1 (now MTARC1)")),
        ("2022-03-05", ("MARCH5 (now MARCHF5)",)),
        ("9/7/2006", ("SEPT7 (now SEPTIN7)",)),
        ("07.09.2006", ("SEPT7 (now SEPTIN7)",)),
        ("1-DEZ", ("DEC1 (now DELEC1)",)),
        ("4-OKT", ("OCT4 (now POU5F1)",)),
        ("SEPT1", ()),
        ("BBS1", ()),
        ("44700", ()),
        ("12-MAR", ()),
        ("99/99/2006", ()),
    ],
)
def test_a_spreadsheets_date_is_known_with_the_symbols_that_it_was(written, symbols):
    assert spreadsheet_dates.symbols_of(written) == symbols


@pytest.mark.parametrize(
    ("name", "species"),
    [
        ("ENSMUSG00000000001", "Mouse"),
        ("ENSDARG00000000001", "Zebrafish"),
        ("FBGN0000014", "Fly"),
        ("WBGENE00000001", "Worm"),
        ("YAL001C", "Yeast"),
        ("ENSRNOG00000000001", "rat"),
        ("ENSSSCG00000000001", "another species"),
        ("ENSG00000166246", "Human"),
        ("BBS1", ""),
    ],
)
def test_a_name_may_show_its_species(name, species):
    assert species_signs.species_of(name) == species


def test_symbols_in_the_spelling_of_a_mouse_are_noticed_among_human_ones():
    mouse = ["Trp53", "Kras", "Egfr", "Myc", "Braf", "Pten"]
    assert species_signs.other_spelling(mouse, "Human") == ("Mouse or rat", "Trp53")
    assert species_signs.other_spelling([name.upper() for name in mouse], "Mouse")[0] == "Human"
    assert species_signs.other_spelling(mouse, "Mouse") == ("", "")
    assert species_signs.other_spelling([*(name.upper() for name in mouse), "Kras"], "Human") == ("", "")
