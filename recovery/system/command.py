"""External programs as values; the only module that starts processes.

Never a shell, never a joined string. Secrets travel by `stdin`, which is not logged.
"""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from recovery.errors import CommandFailed, MissingTool

log = logging.getLogger(__name__)

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LAST_LINES = 6
HINTS = 400


@dataclass(frozen=True, slots=True)
class Command:
    """An external program and how to judge it.

    `purpose` completes the sentence "could not ..." and must mean something to a
    technician. `package` is the Debian package that has the program. `timeout` in seconds.
    """

    argv: tuple[str, ...]
    purpose: str
    stdin: bytes = b""
    accepted: frozenset[int] = frozenset({0})
    timeout: float | None = None
    package: str = ""
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def line(self) -> str:
        """The command as one would type it, for logs and messages."""
        return shlex.join(self.argv)


@dataclass(frozen=True, slots=True)
class Output:
    """What a program answered; `stdout` undecoded, since device names need not be UTF-8."""

    status: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.stdout.decode(errors="replace")


class Runner(Protocol):
    """Runs commands; tests use one with prepared answers."""

    def run(self, command: Command) -> Output:
        """Run to the end. Raises `MissingTool` or `CommandFailed`."""
        ...

    def stream(self, command: Command) -> Iterator[str]:
        """Yield lines of output (both streams) while it runs; raises as `run` does."""
        ...


class SystemRunner:
    """Runs commands on this machine."""

    def run(self, command: Command) -> Output:
        """Run to the end. Raises `MissingTool` or `CommandFailed`."""
        started = time.monotonic()
        try:
            done = subprocess.run(
                command.argv,
                input=command.stdin,
                capture_output=True,
                timeout=command.timeout,
                env=environment(command.environment),
                check=False,
                # Ctrl-C is for us to act on: a filesystem tool is not to be torn down midway.
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise _missing(command) from error
        except subprocess.TimeoutExpired as error:
            raise CommandFailed(
                f"could not {command.purpose}",
                hint=f"{command.line} did not end within {command.timeout:.0f} s",
            ) from error
        output = Output(done.returncode, done.stdout, done.stderr.decode(errors="replace"))
        log.info("%s: status %d, %.1f s", command.line, output.status, time.monotonic() - started)
        _judge(command, output.status, output.stderr or output.text)
        return output

    def stream(self, command: Command) -> Iterator[str]:
        """Yield lines of output (both streams) while it runs; raises as `run` does."""
        started = time.monotonic()
        try:
            process = subprocess.Popen(
                command.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment(command.environment),
            )
        except FileNotFoundError as error:
            raise _missing(command) from error
        assert process.stdin is not None and process.stdout is not None
        last: list[str] = []
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(command.stdin)
                process.stdin.close()
            for raw in process.stdout:
                line = raw.decode(errors="replace").rstrip("\n")
                last = [*last[1 - LAST_LINES :], line]
                yield line
            status = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stdout.close()
        log.info("%s: status %d, %.1f s", command.line, status, time.monotonic() - started)
        _judge(command, status, "\n".join(last))


def environment(extra: tuple[tuple[str, str], ...] = ()) -> Mapping[str, str]:
    """The variables every program gets: fixed search path, no translation."""
    kept = {name: os.environ[name] for name in ("HOME", "TMPDIR", "TERM") if name in os.environ}
    return {**kept, "PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8", **dict(extra)}


def _missing(command: Command) -> MissingTool:
    package = command.package or command.argv[0]
    return MissingTool(
        f"could not {command.purpose}: the program {command.argv[0]} is not installed",
        hint=f"install it with: apt-get install {package}",
    )


def _judge(command: Command, status: int, talk: str) -> None:
    if status in command.accepted:
        return
    last = "\n".join(talk.strip().splitlines()[-LAST_LINES:])[-HINTS:]
    raise CommandFailed(
        f"could not {command.purpose}",
        hint=f"{command.line} ended with status {status}:\n{last}".rstrip(":\n"),
    )
