"""Fetching GenePlexus's data from a server that cuts connections, lies, or is not there."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("geneplexus", reason="the extra [geneplexus] is not installed")

from geneplexus.download import _check_all_files

from job_orchestration.cli.main import main
from job_orchestration.geneplexus import downloads

NAME = "Yeast_data.tar.gz"
FILES = {"NodeOrder__Yeast__STRING.txt": b"1\n2\n", "Edgelist__Yeast__STRING.edg": b"1\t2\t0.5\n" * 20_000}


def packed(files=FILES, listed=FILES):
    """An archive as the data set has it, and one with names that lead elsewhere."""
    archive = io.BytesIO()
    entries = {**files, "data_filenames_Yeast.txt": "\n".join(listed).encode(), "../../outside.txt": b"x"}
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, data in entries.items():
            member = tarfile.TarInfo(f"Yeast_data/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("Yeast_data/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return archive.getvalue()


@contextmanager
def served(archive, *, cut=None, md5=None):
    """Serve a record and an archive; the first answer ends after `cut` bytes."""
    ranges = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if not self.path.endswith("/content"):
                checksum = f"md5:{md5 or hashlib.md5(archive).hexdigest()}"
                files = [{"key": NAME, "size": len(archive), "checksum": checksum}]
                self.answer(200, json.dumps({"files": files}).encode())
                return
            ranges.append(self.headers["Range"])
            begun = int((self.headers["Range"] or "bytes=0-")[6:-1])
            most = cut if cut and len(ranges) == 1 else None
            self.answer(206 if begun else 200, archive[begun:], most)

        def answer(self, code, body, most=None):
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:most])

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/records/1/files", ranges
    finally:
        server.shutdown()
        server.server_close()


def test_a_download_that_was_cut_goes_on_where_it_ended_and_is_verified(tmp_path, capsys):
    archive = packed()
    with served(archive, cut=100) as (url, ranges):
        assert main(["geneplexus", "download", str(tmp_path / "d"), "--species", "Yeast", "--from", url]) == 0
        assert ranges == [None, "bytes=100-"]
        for name, data in FILES.items():
            assert (tmp_path / "d" / name).read_bytes() == data
        assert _check_all_files(str(tmp_path / "d"), "Yeast")
        version = json.loads((tmp_path / "d" / "DATA_VERSION.json").read_text())
        assert {name: one["bytes"] for name, one in version["files"].items() if name in FILES} == {
            name: len(data) for name, data in FILES.items()
        }
        made = {path.name for path in (tmp_path / "d").iterdir()}
        assert made == {*FILES, "data_filenames_Yeast.txt", "DATA_VERSION.json", "outside.txt"}
        assert [path.name for path in tmp_path.iterdir()] == ["d"]
        capsys.readouterr()
        assert main(["geneplexus", "download", str(tmp_path / "d"), "--species", "Yeast", "--from", url]) == 0
        assert len(ranges) == 2
        assert "all files are there" in capsys.readouterr().out
        (tmp_path / "d" / "NodeOrder__Yeast__STRING.txt").write_text("1\n")  # cut short by somebody
        assert downloads.download(str(tmp_path / "d"), ["Yeast"], url)["species"]["Yeast"]["is_new"]
        assert (tmp_path / "d" / "NodeOrder__Yeast__STRING.txt").read_bytes() == b"1\n2\n"


def test_an_archive_that_is_not_what_its_record_says_is_set_aside_and_nothing_is_unpacked(tmp_path):
    with (
        served(packed(), md5="0" * 32) as (url, _),
        pytest.raises(downloads.DownloadError, match="md5 differs"),
    ):
        downloads.download(str(tmp_path), ["Yeast"], url)
    assert [path.name for path in tmp_path.iterdir()] == [f"{NAME}.bad"]
    lacking = packed(listed=[*FILES, "GSC__Yeast__GO__STRING.json"])
    with served(lacking) as (url, _), pytest.raises(downloads.DownloadError, match="lacks GSC__Yeast"):
        downloads.download(str(tmp_path), ["Yeast"], url)
    assert not (tmp_path / "data_filenames_Yeast.txt").exists()


def test_without_a_network_it_is_said_where_to_put_the_files_which_are_then_unpacked(tmp_path, capsys):
    with served(b"") as (url, _):
        pass
    words = ["geneplexus", "download", str(tmp_path), "--species", "Yeast", "--from", url, "--json"]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert f"fetch {NAME} elsewhere, put it into {tmp_path}" in said
    (tmp_path / NAME).write_bytes(packed())
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["species"]["Yeast"] == {"files": 2, "is_new": True}
    assert main(["geneplexus", "download", str(tmp_path), "--species", "Yaest"]) == 1
