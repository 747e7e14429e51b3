"""A virtual machine under test: firmware, disks, a screen to read, keys to press.

`Machine` is a context manager that always ends its QEMU. It is watched from outside as a
technician would: serial console (`terminal.py`), screen dumps, and the exit that follows a
reboot. A root shell on the second serial port is there only if the machine was given one.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, assert_never

from recovery.system.command import SEARCH_PATH
from tests.e2e.terminal import Terminal

Firmware = Literal["bios", "uefi", "uefi-secure"]
Bus = Literal["sata", "nvme", "virtio", "scsi", "usb", "megasas"]

OVMF = Path("/usr/share/OVMF")
CODE = {"uefi": "OVMF_CODE_4M.fd", "uefi-secure": "OVMF_CODE_4M.ms.fd"}
VARIABLES = {"uefi": "OVMF_VARS_4M.fd", "uefi-secure": "OVMF_VARS_4M.ms.fd"}
SELF_TEST_SECONDS = 5

# A systemd of 256 or later takes whole units from credentials, and those from the firmware's
# tables (systemd-debug-generator(8)), so an unchanged medium can be given a shell.
SHELL_UNIT = "test-shell.service"
SHELL_SERVICE = """[Unit]
DefaultDependencies=no
[Service]
ExecStart=/bin/bash --noprofile --norc
Environment=PS1= TERM=dumb LC_ALL=C.UTF-8
StandardInput=tty-force
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS1
TTYReset=yes
Restart=always
RestartSec=1
"""
SHELL_WANTED = f"[Unit]\nWants={SHELL_UNIT}\n"


@dataclass(frozen=True, slots=True)
class DiskDrive:
    """An image file as a disk of the machine. `sector_size` in bytes, logical and physical."""

    path: Path
    bus: Bus = "sata"
    serial: str = ""
    sector_size: int = 512
    read_only: bool = False
    format: Literal["raw", "qcow2"] = "raw"


@dataclass(frozen=True, slots=True)
class DirectKernel:
    """A kernel that QEMU loads itself, past firmware and boot loader."""

    kernel: Path
    initrd: Path
    append: str


@dataclass(frozen=True, slots=True)
class Accelerator:
    """How the guest's instructions are run, and the processor that it sees."""

    name: Literal["tcg", "kvm"]
    processor: str

    @property
    def arguments(self) -> tuple[str, ...]:
        """Arguments for QEMU."""
        threads = ",thread=multi" if self.name == "tcg" else ""
        return ("-accel", f"{self.name}{threads}", "-cpu", self.processor)


TCG = Accelerator("tcg", "max")
KVM = Accelerator("kvm", "host")


@functools.cache
def accelerator() -> Accelerator:
    """KVM where it gives the guest this processor as it is, otherwise TCG.

    A device node proves little: nested, KVM may refuse the processor, and then boot loaders
    were seen to hang with lesser ones. `RECOVERY_ACCEL=tcg` in the environment keeps KVM out.
    """
    if os.environ.get("RECOVERY_ACCEL") == "tcg" or not os.access("/dev/kvm", os.W_OK):
        return TCG
    return KVM if _runs_firmware(KVM) else TCG


def _runs_firmware(candidate: Accelerator) -> bool:
    argv = ("qemu-system-x86_64", *candidate.arguments, "-machine", "q35", "-m", "64")
    argv += ("-nodefaults", "-display", "none")
    argv += ("-chardev", "stdio,id=log", "-device", "isa-debugcon,iobase=0x402,chardev=log")
    try:
        subprocess.run(argv, capture_output=True, timeout=SELF_TEST_SECONDS, check=False)
    except subprocess.TimeoutExpired as ended:
        return b"No bootable device" in (ended.stdout or b"")
    except FileNotFoundError:
        return False
    return False


class MachineFailed(AssertionError):
    """The machine did not do what the test waited for."""


@dataclass(slots=True)
class Machine:
    """A virtual machine; runs between `with` and its end.

    `folder` receives serial.log, shell.log, screen dumps and the machine's NVRAM
    (`variables`; fresh unless a file from an earlier run is given). `memory` in MiB.
    `no_reboot` makes a restart of the guest the end of QEMU, see `wait_for_exit`.
    """

    folder: Path
    disks: tuple[DiskDrive, ...] = ()
    firmware: Firmware = "uefi"
    cdrom: Path | None = None
    direct: DirectKernel | None = None
    memory: int = 2048
    processors: int = 2
    no_reboot: bool = True
    with_shell: bool = False
    variables: Path | None = None
    columns: int = 80
    lines: int = 24
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _sockets: Path = field(default=Path(), init=False)
    _qmp: Qmp | None = field(default=None, init=False)
    _terminal: Terminal | None = field(default=None, init=False)
    _shell: Shell | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        # Socket paths may have 107 bytes, too few for a folder of reports.
        self._sockets = Path(tempfile.mkdtemp(prefix="machine-"))
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and self.is_running:
            with contextlib.suppress(OSError, MachineFailed):
                self.screen_dump("at-failure")
        self._end()

    @property
    def terminal(self) -> Terminal:
        """The first serial port."""
        assert self._terminal is not None, "the machine is not running"
        return self._terminal

    @property
    def shell(self) -> Shell:
        """The root shell on the second serial port; needs `with_shell`."""
        assert self._shell is not None, "the machine was not given a shell"
        return self._shell

    @property
    def is_running(self) -> bool:
        """Whether QEMU still runs."""
        return self._process is not None and self._process.poll() is None

    def wait_for_exit(self, timeout: float) -> None:
        """Wait until the guest has restarted or switched itself off; `timeout` in seconds."""
        assert self._process is not None, "the machine is not running"
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise MachineFailed(f"the machine did not end within {timeout:.0f} s") from error
        if status != 0:
            raise MachineFailed(f"QEMU ended with status {status}: {self._talk()}")

    def screen_dump(self, name: str) -> Path:
        """Save what the graphics card shows as `name`.png in the folder."""
        path = self.folder / f"{name}.png"
        self._monitor("screendump", filename=str(path), format="png")
        return path

    def press(self, *keys: str) -> None:
        """Press keys together on the machine's keyboard, such as `ctrl`, `alt`, `f2`."""
        self._monitor("send-key", keys=[{"type": "qcode", "data": key} for key in keys])

    def _monitor(self, verb: str, **arguments: Any) -> Any:
        assert self._qmp is not None, "the machine is not running"
        return self._qmp.ask(verb, **arguments)

    def _start(self) -> None:
        # The kernel ends QEMU if this process dies without reaching `__exit__`.
        argv = ("setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", *self._arguments())
        with (self.folder / "qemu.log").open("wb") as talk:
            talk.write((" ".join(argv) + "\n").encode())
            talk.flush()
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=talk,
                stderr=talk,
                env={"PATH": SEARCH_PATH, "TMPDIR": tempfile.gettempdir()},
            )
        self._qmp = Qmp(self._connect("qmp"))
        line = self._connect("serial")
        self._terminal = Terminal(line, self.columns, self.lines, self.folder / "serial.log")
        if self.with_shell:
            line = self._connect("shell")
            self._shell = Shell(Terminal(line, 200, 50, self.folder / "shell.log"))
        self._monitor("cont")

    def _end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for open_line in (self._terminal, self._shell, self._qmp):
            if open_line is not None:
                open_line.close()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def _connect(self, name: str) -> socket.socket:
        path = self._sockets / name
        line = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + 30
        while True:
            try:
                line.connect(str(path))
            except OSError as error:
                if not self.is_running or time.monotonic() > deadline:
                    line.close()
                    raise MachineFailed(f"QEMU did not start: {self._talk()}") from error
                time.sleep(0.05)
            else:
                return line

    def _talk(self) -> str:
        return (self.folder / "qemu.log").read_text(errors="replace")[-2000:]

    def _arguments(self) -> tuple[str, ...]:
        argv = [*accelerator().arguments, "-machine", self._board(), "-smp", str(self.processors)]
        argv += ["-m", str(self.memory), "-S", "-nodefaults", "-vga", "std", "-display", "none"]
        argv += ["-nic", "none", "-object", "rng-random,id=rng,filename=/dev/urandom"]
        argv += ["-device", "virtio-rng-pci,rng=rng"]
        argv += ["-qmp", f"unix:{self._sockets / 'qmp'},server=on,wait=off"]
        argv += self._serial("serial")
        if self.with_shell:
            argv += [*self._serial("shell"), *_shell_credentials()]
        if self.no_reboot:
            argv += ["-no-reboot"]
        argv += self._firmware_arguments()
        argv += ["-device", "ahci,id=sata"]
        for number, disk in enumerate(self.disks):
            argv += drive_arguments(number, disk)
        if self.cdrom is not None:
            argv += ["-drive", f"if=none,id=cd,media=cdrom,readonly=on,file={_value(self.cdrom)}"]
            argv += ["-device", "ide-cd,bus=sata.5,drive=cd,bootindex=0"]
        if self.direct is not None:
            argv += ["-kernel", str(self.direct.kernel), "-initrd", str(self.direct.initrd)]
            argv += ["-append", self.direct.append]
        return tuple(argv)

    def _board(self) -> str:
        return "q35,smm=on" if self.firmware == "uefi-secure" else "q35"

    def _serial(self, name: str) -> list[str]:
        line = f"socket,id={name},path={self._sockets / name},server=on,wait=off"
        return ["-chardev", line, "-serial", f"chardev:{name}"]

    def _firmware_arguments(self) -> list[str]:
        if self.firmware == "bios":
            return []
        if self.variables is None:
            self.variables = self.folder / "nvram.fd"
            shutil.copyfile(OVMF / VARIABLES[self.firmware], self.variables)
        code, variables = OVMF / CODE[self.firmware], _value(self.variables)
        argv = ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}"]
        argv += ["-drive", f"if=pflash,format=raw,unit=1,file={variables}"]
        if self.firmware == "uefi-secure":
            argv += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
        return argv


class Shell:
    """Commands in the guest as root, over the second serial port."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def wait_until_ready(self, timeout: float) -> None:
        """Wait until the shell answers; `timeout` in seconds."""
        deadline = time.monotonic() + timeout
        while True:
            with contextlib.suppress(TimeoutError):
                self.run("stty -echo", timeout=5)
                return
            if time.monotonic() > deadline:
                raise MachineFailed(f"no shell on the second serial port within {timeout:.0f} s")

    def run(self, command: str, timeout: float = 60) -> tuple[int, str]:
        """Exit status and output of a shell command; `timeout` in seconds."""
        return self._terminal.run(command, timeout)

    def succeed(self, command: str, timeout: float = 60) -> str:
        """Output of a shell command that must end with status 0."""
        status, output = self.run(command, timeout)
        if status != 0:
            raise MachineFailed(f"must succeed: {command}\nstatus {status}: {output}")
        return output

    def close(self) -> None:
        """Let go of the line."""
        self._terminal.close()


class Qmp:
    """QEMU's monitor. Source: QEMU Machine Protocol specification."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._line.settimeout(60)
        self._lines = line.makefile("rb")
        json.loads(self._lines.readline())
        self.ask("qmp_capabilities")

    def ask(self, verb: str, **arguments: Any) -> Any:
        """The answer to a command. Raises `MachineFailed` if QEMU refuses it or is gone."""
        request = {"execute": verb, "arguments": arguments}
        self._line.sendall(json.dumps(request).encode() + b"\n")
        for raw in self._lines:
            answer = json.loads(raw)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise MachineFailed(f"QEMU refused {verb}: {answer['error']['desc']}")
        raise MachineFailed(f"QEMU ended while it was asked for {verb}")

    def close(self) -> None:
        """Let go of the line."""
        self._lines.close()
        self._line.close()


def drive_arguments(number: int, disk: DiskDrive) -> list[str]:
    """Arguments for QEMU that attach `disk` as the machine's disk `number`, from 0.

    Firmware tries disks in this order, after a CD.
    """
    read_only = "on" if disk.read_only else "off"
    drive = f"if=none,id=disk{number},format={disk.format},readonly={read_only}"
    # Writes are lost with the host only; no test pulls the host's plug.
    drive += f",cache=unsafe,discard=unmap,detect-zeroes=unmap,file={_value(disk.path)}"
    device = f"drive=disk{number},bootindex={number + 1}"
    if disk.serial:
        device += f",serial={_value(disk.serial)}"
    if disk.sector_size != 512:
        device += f",logical_block_size={disk.sector_size},physical_block_size={disk.sector_size}"
    argv = ["-drive", drive]
    match disk.bus:
        case "sata":
            return [*argv, "-device", f"ide-hd,bus=sata.{number},{device}"]
        case "nvme":
            serial = "" if disk.serial else f",serial={secrets.token_hex(4)}"
            return [*argv, "-device", f"nvme,{device}{serial}"]
        case "virtio":
            return [*argv, "-device", f"virtio-blk-pci,{device}"]
        case "usb":
            hub = ["-device", f"qemu-xhci,id=usb{number}"]
            return [*argv, *hub, "-device", f"usb-storage,bus=usb{number}.0,{device}"]
        case "scsi" | "megasas":
            model = {"scsi": "virtio-scsi-pci", "megasas": "megasas-gen2"}[disk.bus]
            controller = ["-device", f"{model},id=scsi{number}"]
            return [*argv, *controller, "-device", f"scsi-hd,bus=scsi{number}.0,{device}"]
        case _:
            assert_never(disk.bus)


def blank_disk(path: Path, size: int) -> Path:
    """Make an empty image file of `size` bytes that takes no space."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as image:
        image.truncate(size)
    return path


def _shell_credentials() -> list[str]:
    texts = {
        f"systemd.extra-unit.{SHELL_UNIT}": SHELL_SERVICE,
        "systemd.unit-dropin.sysinit.target": SHELL_WANTED,
    }
    argv: list[str] = []
    for name, text in texts.items():
        coded = base64.b64encode(text.encode()).decode()
        argv += ["-smbios", f"type=11,value=io.systemd.credential.binary:{name}={coded}"]
    return argv


def _value(value: Path | str) -> str:
    """A value inside a QEMU option, where a comma is written twice."""
    return str(value).replace(",", ",,")
