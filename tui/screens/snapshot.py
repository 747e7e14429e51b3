"""Which state of the machine shall come back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from textual import events, getters
from textual.widget import Widget
from textual.widgets import OptionList, Static

from recovery.model.size import format_size
from recovery.model.snapshot import Snapshot, Volume
from tui.screens.page import Page
from tui.widgets.choice_list import ChoiceList, Row
from tui.words import (
    age_words,
    cell,
    content_words,
    firmware_words,
    local_time,
    shorten,
    utc_time,
)


class SnapshotScreen(Page[Snapshot]):
    """Returns the snapshot to restore."""

    HEADING = "Choose the snapshot"
    PLACE = "step 2 of 5"
    HELP_TEXT = (
        "A snapshot is one captured state of one machine. The newest is first. The lower half "
        "tells about the highlighted one: when it was taken, on what machine, and the volumes "
        "in it.\n\n"
        "Times in the list are by this machine's clock; if an age looks wrong, so is the clock."
    )

    details = getters.query_one("#details", Static)

    def __init__(self, snapshots: Sequence[Snapshot], now: datetime, chosen: str = "") -> None:
        super().__init__()
        self._snapshots = tuple(snapshots)
        self._now = now
        self._chosen = chosen

    def compose_body(self) -> Iterator[Widget]:
        """The list above the details of the highlighted one."""
        ids = [snapshot.id for snapshot in self._snapshots]
        yield Static(
            "One snapshot. Enter goes on with it."
            if len(ids) == 1
            else f"{len(ids)} snapshots, the newest first. Which one shall come back?",
            id="intro",
            markup=False,
        )
        yield ChoiceList(
            self._rows,
            highlighted=ids.index(self._chosen) if self._chosen in ids else 0,
            id="snapshots",
        )
        yield Static(id="details", markup=False)

    def on_mount(self) -> None:
        """Arrows move in the list at once."""
        self.query_one("#snapshots").focus()
        self.details.border_title = "The highlighted snapshot"

    def _rows(self, width: int) -> list[Row]:
        host = min(30, 18 + max(0, width - 76) // 3)
        return [
            Row((shorten(snapshot_line(snapshot, self._now, host), width),))
            for snapshot in self._snapshots
        ]

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Tell about the highlighted one."""
        self._describe(event.option_index)

    def on_resize(self, event: events.Resize) -> None:
        """Fit the details to the width."""
        highlighted = self.query_one("#snapshots", ChoiceList).highlighted
        if highlighted is not None:
            self._describe(highlighted)

    def _describe(self, index: int) -> None:
        width, height = self.app.size.width - 6, self.app.size.height // 2 - 4
        self.details.update(
            "\n".join(render_snapshot(self._snapshots[index], self._now, width, height))
        )

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Return it."""
        self.dismiss(self._snapshots[event.option_index])


def snapshot_line(snapshot: Snapshot, now: datetime, host_width: int) -> str:
    """A snapshot in one line."""
    return (
        f"{cell(snapshot.host, host_width)} {local_time(snapshot.taken_at)}  "
        f"{cell(age_words(snapshot.taken_at, now), 14)} {format_size(snapshot.used):>8}  "
        f"{snapshot.note}"
    ).rstrip()


def render_snapshot(snapshot: Snapshot, now: datetime, width: int, room: int) -> list[str]:
    """What there is to know before choosing it, in at most `room` lines."""
    machine = snapshot.machine
    disks = ", ".join(str(node.disk) for node in snapshot.layout.disks)
    lines = [
        f"Taken    {local_time(snapshot.taken_at)} here, {utc_time(snapshot.taken_at)}, "
        f"{age_words(snapshot.taken_at, now)}",
        f"Machine  {snapshot.host}, {machine.product or 'unknown'}, {firmware_words(machine)}",
        f"Disks    {disks}",
    ]
    if snapshot.note:
        lines.append(f"Note     {snapshot.note}")
    lines.append(f"Id       {snapshot.id}")
    volumes = [_volume_line(snapshot, volume) for volume in snapshot.volumes]
    left = max(1, room - len(lines))
    if len(volumes) > left:
        volumes = [*volumes[: left - 1], f"and {len(volumes) - left + 1} more volumes"]
    lines += [
        f"{'Volumes' if number == 0 else '':<8} {line}" for number, line in enumerate(volumes)
    ]
    return [shorten(line, width) for line in lines]


def _volume_line(snapshot: Snapshot, volume: Volume) -> str:
    content = content_words(snapshot.layout, volume.id) or "raw"
    filesystem = snapshot.layout.filesystem(volume.id)
    place = " ".join(filesystem.mounts) or filesystem.label if filesystem else ""
    return (
        f"{cell(content, 8)} {format_size(volume.used):>8} used of {format_size(volume.size):>8}"
        f"  {place}"
    ).rstrip()
