"""Percentage, rate and remaining time; words and numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery.model.event import BytesMoved, PartStarted, StepDone, StepStarted, Warned
from tests.tui.simulation import SSD, make_plan, make_snapshot
from tui.progress import Progress, weight_of
from tui.words import age_words, duration_words, hanging, shorten

NUMBERS = st.integers(0, 12)
PLAN = make_plan(make_snapshot(), SSD)


def test_all_steps_done_is_the_whole_job() -> None:
    progress = Progress.of(PLAN, 0)
    for number in range(1, len(PLAN.steps) + 1):
        progress.take(StepStarted(number, len(PLAN.steps), ""), number)
        progress.take(StepDone(number), number)
    assert progress.fraction == 1


def test_half_a_step_counts_half_its_weight() -> None:
    progress = Progress.of(PLAN, 0)
    progress.take(StepStarted(4, len(PLAN.steps), "", total=1000), 10)
    progress.take(BytesMoved(500), 15)
    weights = [weight_of(step) for step in PLAN.steps]
    assert progress.fraction == pytest.approx(weights[3] / 2 / sum(weights))
    assert progress.rate == 100


def test_the_rate_is_of_the_last_seconds() -> None:
    progress = Progress.of(PLAN, 0)
    progress.take(StepStarted(4, 8, "", total=10**9), 0)
    for second in range(1, 31):
        progress.take(BytesMoved(second * 1000 if second <= 15 else 15000), second)
    assert progress.rate == 0


def test_remaining_time_is_not_told_too_early() -> None:
    progress = Progress.of(PLAN, 0)
    assert progress.remaining(1) is None
    progress.take(StepStarted(4, 8, "", total=100), 0)
    progress.take(BytesMoved(100), 10)
    remaining = progress.remaining(10)
    assert remaining == pytest.approx(10 * (1 - progress.fraction) / progress.fraction)


@given(
    st.lists(
        st.one_of(
            st.builds(StepStarted, NUMBERS, NUMBERS, st.text(), st.integers(0)),
            st.builds(BytesMoved, st.integers(0, 10**15)),
            st.builds(PartStarted, NUMBERS, NUMBERS, st.text()),
            st.builds(Warned, st.text()),
            st.builds(StepDone, st.integers(0, 12)),
        ),
        max_size=30,
    )
)
def test_no_order_of_events_breaks_the_screen(events: list[object]) -> None:
    progress = Progress.of(PLAN, 0)
    for now, event in enumerate(events):
        progress.take(event, now)  # type: ignore[arg-type]
        assert 0 <= progress.fraction <= 1
        assert progress.rate is not None
        progress.remaining(now)


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (timedelta(seconds=20), "just now"),
        (timedelta(minutes=59), "59 minutes ago"),
        (timedelta(hours=30), "30 hours ago"),
        (timedelta(days=59), "59 days ago"),
        (timedelta(days=100), "3 months ago"),
        (timedelta(days=800), "2 years ago"),
        (timedelta(hours=-1), "in the future?"),
    ],
)
def test_ages(age: timedelta, words: str) -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert age_words(now - age, now) == words


def test_long_durations_have_hours() -> None:
    assert duration_words(3599) == "1 h 00 min"


@given(st.text(), st.integers(3, 200))
def test_shortened_text_fits(text: str, width: int) -> None:
    assert len(shorten(text, width)) <= width


@given(st.text(), st.integers(30, 200), st.integers(0, 10))
def test_hanging_lines_fit(text: str, width: int, indent: int) -> None:
    assert all(len(line) <= width for line in hanging(text, width, indent=indent))


def test_parts_of_a_step_without_bytes_count() -> None:
    progress = Progress.of(PLAN, 0)
    progress.take(StepStarted(1, 8, ""), 0)
    progress.take(PartStarted(1, 4, "first"), 1)
    none = progress.fraction
    progress.take(PartStarted(3, 4, "third"), 2)
    assert none == 0
    assert progress.fraction == pytest.approx(progress.weights[0] / 2 / sum(progress.weights))
