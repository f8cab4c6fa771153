"""A frame of the live view fits the screen, whatever its size and whatever stands in it."""

from __future__ import annotations

import io
import os
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from job_orchestration.cli import forecast_text
from job_orchestration.cli.table_layout import Line, ascii_only, lines, table
from job_orchestration.commands.live_view import Frame
from job_orchestration.commands.status import Overview, StatusEntry
from job_orchestration.forecast.time_left import Forecast
from job_orchestration.workspace.layout import Place
from tests.conftest import ROOT

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOTHING = Forecast(0, 0, 0, *(None,) * 6)


def entry(
    run: str = "sweep/net_1", place: Place = Place.RUNNING, progress: float | None = 0.45
) -> StatusEntry:
    return StatusEntry(
        run=run,
        config="net_1",
        place=place,
        status="RUNNING_TASK",
        task="train",
        task_index=1,
        task_count=3,
        attempt=1,
        worker="lab3.4711.k7f",
        commit="c" * 40,
        readied_at=None,
        started_at=None,
        ended_at=None,
        elapsed_s=3725.0,
        progress=progress,
        eta_s=720.0,
        outcome=None,
        held_by="lab3.4711.k7f",
        error=None,
        eta_p90_s=1200.0,
        eta_at=NOW.isoformat(),
        eta_p90_at=NOW.isoformat(),
        note="silent",
        waits_for=(),
    )


def frame(*rows: tuple[StatusEntry, str], forecast: Forecast = NOTHING) -> Frame:
    counts = dict.fromkeys(Place, 0) | {Place.RUNNING: len(rows), Place.COMPLETED: 3}
    return Frame(Overview(counts, [e for e, _ in rows], forecast), 2, stopping=False, rows=rows)


def texts(frame: Frame, width: int, height: int = 40) -> list[str]:
    return [line.text for line in lines(frame, width, height)]


def test_on_a_large_screen_everything_is_shown() -> None:
    shown = texts(frame((entry(), "epoch 3 of 9")), 200)
    assert shown[0].split() == ["run", "task", "elapsed", "left", "ends", "worker", "note"]
    assert "sweep/net_1  train 2/3  ████░░░░░░  45%  1 h 2 m  12 m to 20 m" in shown[1]
    assert shown[1].endswith("lab3.4711.k7f  silent")
    assert shown[2] == "  └ epoch 3 of 9"
    assert shown[-2:] == ["2 workers; Ctrl-C ends", "1 running, 3 completed"]


def test_the_last_lines_say_what_ctrl_c_does() -> None:
    own = frame((entry(), ""))
    assert "stopping; Ctrl-C again ends at once" in texts(replace(own, stopping=True), 200)[-2]
    assert "Ctrl-C leaves; nothing is stopped" in texts(replace(own, is_look=True), 200)[-2]


def test_failures_and_a_bar_of_the_queue_stand_below_the_runs_on_a_screen_that_is_high_enough() -> None:
    lost = entry("sweep/lost", Place.FAILED)._replace(error="ValueError: no such gene\nin line 2")
    shown = replace(frame((entry(), "epoch 3")), done=32, left=8, failures=(lost,))
    assert "failed: sweep/lost  train 2/3  ValueError: no such gene" in texts(shown, 100)
    assert "████████░░ 32/40 have ended; 2 workers; Ctrl-C ends" in texts(shown, 100)
    assert not any("sweep/lost" in text for text in texts(shown, 100, 5)), "runs come first"


def test_a_worker_of_the_view_is_called_as_in_its_messages() -> None:
    shown = replace(frame((entry(), "")), labels={"lab3.4711.k7f": "2"})
    assert texts(shown, 200)[1].split()[-2:] == ["2", "silent"]


def test_on_a_smaller_screen_the_name_task_and_time_left_stay_the_longest() -> None:
    row = texts(frame((entry("sweep/a_rather_long_name_of_a_run"), "")), 60)[1]
    assert row.startswith("sweep/a_r")
    for part in ("…e_of_a_run", "train 2/3", "45%", "12 m to 20 m"):
        assert part in row
    assert "lab3" not in row


@pytest.mark.parametrize("width", [60, 100, 200])
def test_runs_that_differ_at_the_end_of_their_names_and_long_ids_of_tasks_can_be_read(width: int) -> None:
    names = [f"2026_11_20/a_sweep_over_this_and_that_with_a_long_name/lr={n}" for n in (1, 2)]
    rows = texts(frame(*((entry(name)._replace(task="train_" * 9), "") for name in names)), width)[1:3]
    assert [row.split()[0][-5:] for row in rows] == ["/lr=1", "/lr=2"]
    assert all("… 2/3 " in row for row in rows)


def test_with_little_height_logs_go_first_and_then_runs_and_it_is_said() -> None:
    rows = [(entry(f"r{i}"), "log") for i in range(9)]
    assert sum("└" in text for text in texts(frame(*rows), 100, 30)) == 9
    short = texts(frame(*rows), 100, 13)
    assert [text[:2] for text in short[1:-2]] == [f"r{i}" for i in range(9)]
    shorter = texts(frame(*rows), 100, 8)
    assert len(shorter) == 7
    assert "… and 6 more" in shorter
    assert texts(frame(*rows), 100, 2) == ["9 running, 3 completed"]


@settings(max_examples=60, deadline=None)
@example([("", "", None), ("", "", None)], 1, 41)
@given(
    st.lists(
        st.tuples(st.text(max_size=60), st.text(max_size=90), st.one_of(st.none(), st.floats(0, 1))),
        max_size=6,
    ),
    st.integers(1, 220),
    st.integers(1, 60),
)
def test_no_line_is_wider_and_no_frame_higher_than_the_screen(
    rows: list[tuple[str, str, float | None]], width: int, height: int
) -> None:
    shown = frame(*((entry(name or "x", progress=part), log) for name, log, part in rows))
    made = lines(shown, width, height)
    assert all(cell_len(line.text) <= width for line in made)
    assert all(line.text.isprintable() for line in made)
    assert 1 <= len(made) <= max(height - 1, 1)
    assert all(ascii_only(line).text.isascii() for line in made)


@pytest.mark.parametrize("width", [40, 60, 100, 200])
def test_a_table_on_a_narrow_screen_has_fewer_columns_and_no_cell_that_says_nothing(width: int) -> None:
    many = tuple(f"sweep/lr={n}" for n in range(400))
    waits = entry("w" * 50, Place.TO_RUN, None)._replace(waits_for=(*many, "x (failed)"), elapsed_s=None)
    gone = entry("sweep/name_of_a_run_that_is_quite_long", Place.FAILED)._replace(error="ValueError: " * 9)
    rows = table([waits, gone], width)
    assert all(cell_len(row.text) <= width for row in rows)
    assert [row.text.split("  ")[0] for row in rows] == ["place", "to run", "failed"]
    assert rows[2].text.split()[1].endswith("e_long")
    assert "train 2/3" in rows[1].text
    assert ("ValueError" in rows[2].text) == (width > 40)
    assert ("x (failed), sweep/lr=0 and 399 more" in rows[1].text) == (width == 200)
    assert sum("█" in row.text for row in rows) == (width == 200)


@given(st.lists(st.tuples(st.text(max_size=60), st.text(max_size=60)), min_size=1), st.integers(1, 220))
def test_no_row_of_a_table_is_wider_than_the_screen(rows: list[tuple[str, str]], width: int) -> None:
    made = table([entry(name or "x")._replace(error=error) for name, error in rows], width)
    assert all(cell_len(line.text) <= width for line in made)


def test_a_terminal_that_knows_only_ascii_gets_a_bar_too() -> None:
    assert ascii_only(Line("██░ … └")).text == "##. ~ `"


def test_a_moment_is_said_with_its_day_when_that_is_another() -> None:
    def until(*ahead: float) -> str:
        p50, p90 = ((NOW + timedelta(days=days)).isoformat() for days in ahead)
        return forecast_text.until(p50, p90, NOW)

    clock = NOW.astimezone().strftime("%H:%M")
    assert until(0, 0) == clock
    assert until(0, 1) == f"{clock} to {(NOW + timedelta(days=1)).astimezone():%a} {clock}"
    assert until(30, 30) == f"{(NOW + timedelta(days=30)).astimezone():%Y-%m-%d}"
    assert forecast_text.until(None, None) == ""


@pytest.mark.parametrize(
    ("forecast", "said"),
    [
        (NOTHING, ""),
        (Forecast(2, 3, 1, 1.0, 2.0, *(None,) * 4), "time left unknown: 1 of 3 runs have"),
        (Forecast(2, 3, 1, 60.0, 90.0, *(None,) * 4), "; the others are 1 m to 1 m 30 s of work"),
        (Forecast(0, 3, 0, 600.0, 900.0, *(None,) * 4), "no workers; 10 m to 15 m of work queued"),
        (Forecast(1, 3, 0, 600.0, 900.0, *(None,) * 4), "cannot tell whether some workers are alive"),
        (
            Forecast(1, 1, 0, 9.0, 9.0, 9.0, 12.0, NOW.isoformat(), NOW.isoformat()),
            "9 s to 12 s left with 1 worker,",
        ),
    ],
)
def test_the_queue_is_described_in_a_sentence(forecast: Forecast, said: str) -> None:
    assert said in forecast_text.summary(forecast)
    assert bool(said) == bool(forecast_text.summary(forecast))


def test_the_picture_in_the_readme_is_what_the_live_view_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw fixed runs; with ``UPDATE_PICTURES=1`` in the environment, write the picture anew."""
    monkeypatch.setattr(forecast_text, "until", lambda p50, *_: "14:30" if p50 else "")
    rows = tuple(
        (entry(f"sweep/{name}", progress=done)._replace(note=None), log)
        for name, done, log in (
            ("lr_0.1", 0.45, "epoch 9 of 20, loss 0.41"),
            ("lr_0.01", 0.8, "epoch 16 of 20, loss 0.27"),
        )
    )
    queue = Forecast(2, 12, 0, 14400.0, 18000.0, 7200.0, 9000.0, NOW.isoformat(), NOW.isoformat())
    console = Console(
        width=90, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor", _environ={}
    )
    for line in lines(frame(*rows, forecast=queue), 90, 20):
        console.print(Text(line.text, line.style), no_wrap=True, overflow="crop", crop=True)
    drawn = console.export_svg(title="job-orchestration up --workers 2", unique_id="live-view")
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)  # they are loaded from a network
    picture = ROOT / "docs" / "live_view.svg"
    if os.environ.get("UPDATE_PICTURES"):
        picture.write_text(drawn, encoding="utf-8")
    words = re.compile(r">([^<>]+)</text>").findall  # the rest is up to the version of rich
    kept = picture.read_text(encoding="utf-8")
    assert words(kept) == words(drawn), "draw it again with UPDATE_PICTURES=1"
    assert "http" not in kept.replace("http://www.w3.org/2000/svg", "").replace(
        "https://www.textualize.io", ""
    )
