"""Verbs that harm nothing: a made-up machine, repository and restore, with failures on demand."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from recovery.application.verbs import (
    OpenRepository,
    RepositoryLocation,
    TargetChoice,
    Verbs,
)
from recovery.errors import (
    DoesNotFit,
    Interrupted,
    NoRepository,
    PassphraseNeeded,
    Refused,
    WrongPassphrase,
)
from recovery.model.event import BytesMoved, Listener, Outcome, StepDone, StepStarted, Warned
from recovery.model.layout import DiskNode, Filesystem, Layout, Node, Partition, Table
from recovery.model.machine import (
    Controller,
    Disk,
    DiskId,
    Firmware,
    Machine,
    NetworkCard,
    SecureBoot,
)
from recovery.model.plan import (
    AdaptSystem,
    GrowFilesystem,
    Plan,
    SaveOldTable,
    Step,
    VerifyVolume,
    WriteTable,
    WriteVolume,
    describe,
    work_of,
)
from recovery.model.probe import Probe
from recovery.model.size import GiB, MiB
from recovery.model.snapshot import Snapshot, Volume

PASSPHRASE = "correct horse"
RECOVERY_CODE = "3QX7-0M2P"
NO_BOOT_ENTRY = "the firmware's boot entry could not be written; the fallback path is used"
ESP = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
LINUX = "0fc63daf-8483-4772-8e79-3d69d8477de4"

PLAIN = RepositoryLocation(
    url="/media/WD/backups",
    where="WD My Passport 25E1 WX21A3 (2000 GB), partition 1, folder /backups",
    protected=False,
)
PROTECTED = RepositoryLocation(
    url="/media/fleet",
    where="SanDisk Ultra 4C530001 (128 GB), partition 2, folder /fleet",
    protected=True,
)


def make_disk(
    model: str = "Samsung SSD 980 1TB",
    serial: str = "S64DNX0R731804",
    size: int = 1_000_204_886_016,
    transport: str = "nvme",
    path: str = "",
    **others: object,
) -> Disk:
    """A disk as a probe finds it."""
    disk = Disk(
        id=DiskId(model, serial, size, path),
        node="/dev/nvme0n1",
        logical_sector=512,
        physical_sector=4096,
        rotational=False,
        removable=False,
        transport=transport,
        read_only=True,
    )
    return replace(disk, **others)  # type: ignore[arg-type]


SSD = make_disk()
NO_SERIAL = make_disk("QEMU HARDDISK", "", 64 * GiB, "virtio", "pci-0000:00:05.0", node="/dev/vda")
PASSPORT = make_disk(
    "WD My Passport 25E1",
    "WX21A3",
    2_000_365_289_472,
    "usb",
    node="/dev/sdb",
    rotational=True,
    removable=True,
)
SMALL = make_disk("Kingston SA400S37", "50026B7784", 8_000_000_000, "ata", node="/dev/sda")


def partitions_on(disk: str, size: int) -> tuple[Node, ...]:
    """An ESP and an ext4 root that fills the rest."""
    table = f"{disk}t"
    return (
        Table(table, disk, "gpt", "9d5e34f0-93c4-4e0a-b9b1-7dc9a1d7a5a1"),
        Partition(f"{disk}p1", table, 1, MiB, 512 * MiB, ESP, "1", "EFI system"),
        Partition(f"{disk}p2", table, 2, 513 * MiB, size - 514 * MiB, LINUX, "2", "root"),
        Filesystem(f"{disk}p1fs", f"{disk}p1", "vfat", "AB12-34CD", "ESP", ("/boot/efi",)),
        Filesystem(f"{disk}p2fs", f"{disk}p2", "ext4", "5f5c", "root", ("/",)),
    )


def make_probe(disks: tuple[Disk, ...] = (SSD, PASSPORT, NO_SERIAL)) -> Probe:
    """A machine with these disks; the first one has a system on it."""
    nodes: list[Node] = []
    for number, disk in enumerate(disks):
        name = f"disk{number}"
        nodes.append(DiskNode(name, disk.id, disk.logical_sector, disk.physical_sector))
        if number == 0:
            nodes += partitions_on(name, disk.id.size)
    machine = Machine(
        product="LENOVO ThinkCentre M70q Gen 3",
        firmware=Firmware.UEFI,
        secure_boot=SecureBoot.ON,
        memory=16 * GiB,
        processors=12,
        disks=disks,
        network_cards=(
            NetworkCard("enp2s0", "d8:bb:c1:0a:11:22", "igc", "Intel I226-V", True),
            NetworkCard("wlp3s0", "d8:bb:c1:0a:11:23", "iwlwifi", "Intel Wi-Fi 6E AX211", False),
        ),
        controllers=(Controller("0000:01:00.0", "Samsung NVMe SM981", "nvme", "pci:v0000144D"),),
    )
    return Probe(machine, Layout(tuple(nodes)))


def make_snapshot(
    id: str = "20261120T021500Z-7f3a",
    host: str = "ws-042",
    age: timedelta = timedelta(days=2),
    note: str = "",
    size: int = 500 * GiB,
) -> Snapshot:
    """A snapshot of a machine with one disk."""
    disk = DiskId("ST500DM002-1BD142", "Z2AXK1QD", size)
    layout = Layout((DiskNode("disk0", disk, 512, 4096), *partitions_on("disk0", size)))
    esp, root = layout.partitions("disk0")
    return Snapshot(
        id=id,
        host=host,
        taken_at=datetime.now(UTC) - age,
        machine=replace(make_probe(()).machine, product="Dell OptiPlex 7010"),
        layout=layout,
        volumes=(
            Volume(esp.id, "disk0", esp.start, esp.size, 35 * MiB, 6 * MiB, "used", "", ()),
            Volume(root.id, "disk0", root.start, root.size, 48 * GiB, 2 * GiB, "used", "", ()),
        ),
        parent="",
        consistency="offline",
        tool_version="0.1",
        note=note,
    )


@dataclass(frozen=True)
class SimulatedRepository:
    url: str


@dataclass
class SimulatedVerbs:
    """Implements `Verbs`; `failures` maps a method's name to what its next calls raise.

    `pace` is the length of a step in seconds; `hold` blocks a restore before its last step.
    """

    session_folder: Path
    machine: Probe = field(default_factory=make_probe)
    locations: tuple[RepositoryLocation, ...] = (PLAIN, PROTECTED)
    stored: tuple[Snapshot, ...] = field(
        default_factory=lambda: (
            make_snapshot(note="before the upgrade"),
            make_snapshot("20261113T021500Z-19c2", age=timedelta(days=9)),
            make_snapshot("20260830T120000Z-a001", "srv-files-01", age=timedelta(days=84)),
        )
    )
    refusals: dict[str, str] = field(
        default_factory=lambda: {PASSPORT.id.token: "it holds the repository"}
    )
    failures: dict[str, list[BaseException]] = field(default_factory=dict)
    delays: dict[str, float] = field(default_factory=dict)
    pace: float = 0.0
    hold: threading.Event | None = None
    fail_in_step: tuple[int, BaseException] | None = None
    calls: list[str] = field(default_factory=list)
    confirmations: list[str] = field(default_factory=list)
    searches: int = 0

    def _enter(self, name: str) -> None:
        self.calls.append(name)
        time.sleep(self.delays.get(name, 0))
        if waiting := self.failures.get(name):
            raise waiting.pop(0)

    def probe(self) -> Probe:
        self._enter("probe")
        return self.machine

    def find_repositories(self) -> tuple[RepositoryLocation, ...]:
        self._enter("find_repositories")
        return self.locations

    def open_repository(self, url: str, passphrase: str | None) -> OpenRepository:
        self._enter("open_repository")
        known = {location.url: location for location in (PLAIN, PROTECTED)}
        if url not in known:
            raise NoRepository(
                f"there is no repository at {url}", hint="check the path, and that it is mounted"
            )
        if known[url].protected and passphrase is None:
            raise PassphraseNeeded("the repository is protected")
        if known[url].protected and passphrase not in {PASSPHRASE, RECOVERY_CODE}:
            raise WrongPassphrase("the passphrase or recovery code does not open this repository")
        return SimulatedRepository(url)

    def snapshots(self, repository: OpenRepository) -> tuple[Snapshot, ...]:
        self._enter("snapshots")
        return self.stored

    def targets(self, repository: OpenRepository, snapshot: Snapshot) -> tuple[TargetChoice, ...]:
        self._enter("targets")
        choices = [
            TargetChoice(
                disk,
                "2 partitions: vfat, ext4" if number == 0 else "empty",
                self.refusals.get(disk.id.token, ""),
            )
            for number, disk in enumerate(self.machine.machine.disks)
        ]
        return tuple(sorted(choices, key=lambda choice: bool(choice.refusal)))

    def plan_restore(self, repository: OpenRepository, snapshot: Snapshot, target: Disk) -> Plan:
        self._enter("plan_restore")
        if target.id.size < snapshot.used:
            raise DoesNotFit(
                f"{snapshot.host} does not fit on {target.id}",
                hint="it needs at least 52 GB; choose a larger disk",
            )
        return make_plan(snapshot, target)

    def perform_restore(
        self,
        repository: OpenRepository,
        plan: Plan,
        confirmation: str,
        listener: Listener,
        cancelled: threading.Event,
    ) -> Outcome:
        self.confirmations.append(confirmation)
        self._enter("perform_restore")
        if confirmation != plan.erased_disks[0].token:
            raise Refused("another disk was confirmed than the plan erases")
        for number, step in enumerate(plan.steps, 1):
            self._perform_step(number, step, len(plan.steps), listener, cancelled)
        return Outcome(
            performed=True,
            verified=True,
            facts=(
                "partition table read back: 2 partitions as planned",
                "ESP: 36.7 MB read back, equal",
                "root (ext4): 51.5 GB read back, equal; e2fsck found no error",
                "boot files present: \\EFI\\BOOT\\BOOTX64.EFI",
            ),
            warnings=(NO_BOOT_ENTRY,),
        )

    def _perform_step(
        self, number: int, step: Step, steps: int, listener: Listener, cancelled: threading.Event
    ) -> None:
        total = work_of(step)
        listener(StepStarted(number, steps, describe(step), total))
        if self.hold and number == steps:
            self.hold.wait(20)
        if isinstance(step, AdaptSystem):
            listener(Warned(NO_BOOT_ENTRY))
        for tick in range(20):
            if cancelled.is_set():
                raise Interrupted("the restore was stopped")
            time.sleep(self.pace / 20)
            if total:
                listener(BytesMoved(total * (tick + 1) // 20))
        if self.fail_in_step and self.fail_in_step[0] == number:
            raise self.fail_in_step[1]
        listener(StepDone(number))

    def reboot(self) -> None:
        self._enter("reboot")

    def power_off(self) -> None:
        self._enter("power_off")


def make_plan(snapshot: Snapshot, target: Disk) -> Plan:
    """What the engine would plan for a machine with two partitions."""
    disk = target.id
    steps: tuple[Step, ...] = (
        SaveOldTable(disk),
        WriteTable(disk, 2, "gpt"),
        WriteVolume("disk0p1", "ESP", disk, MiB, 512 * MiB, 35 * MiB),
        WriteVolume("disk0p2", "root", disk, 513 * MiB, disk.size - GiB, 48 * GiB),
        VerifyVolume("disk0p1", "ESP", disk, MiB, 35 * MiB),
        VerifyVolume("disk0p2", "root", disk, 513 * MiB, 48 * GiB),
        GrowFilesystem("disk0p2", "root", "ext4", disk, 2, 513 * MiB, disk.size - GiB),
        AdaptSystem(disk, "Debian 13 to start on this machine: initramfs, boot loader, fstab"),
    )
    return Plan(
        title=f"Restore {snapshot.host} of {snapshot.taken_at:%Y-%m-%d %H:%M} UTC",
        snapshot=snapshot.id,
        steps=steps,
        made_for=(disk,),
        layout=snapshot.layout,
        notes=("partition 2 grows from 536 GB to fill the disk",),
    )


def _is_verbs(simulated: SimulatedVerbs) -> Verbs:
    """For the type checker: the simulation keeps the protocol."""
    return simulated
