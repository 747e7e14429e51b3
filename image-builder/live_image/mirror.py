"""Which Debian mirror to build from: the one this host uses, else Debian's own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_ONE_LINE = re.compile(r"^deb\s+(?:\[[^]]*\]\s+)?(?P<uri>\S+)\s+\S+\s+\S")
_URIS = re.compile(r"^URIs:\s*(?P<uris>.+)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where Debian's packages and their security updates are."""

    packages: str = "http://deb.debian.org/debian"
    security: str = "http://deb.debian.org/debian-security"

    def sources(self, suite: str, components: tuple[str, ...]) -> tuple[str, ...]:
        """One `sources.list` line per archive, checked against Debian's keyring of this host."""
        parts = " ".join(components)
        return tuple(
            f"deb [signed-by={KEYRING}] {uri} {name} {parts}"
            for uri, name in (
                (self.packages, suite),
                (self.packages, f"{suite}-updates"),
                (self.security, f"{suite}-security"),
            )
        )


def find_mirror(sources: Iterable[str]) -> Mirror:
    """The first Debian mirror in the texts of apt's source files."""
    packages: str | None = None
    security: str | None = None
    for text in sources:
        for line in text.splitlines():
            for uri in _uris_of(line.strip()):
                name = uri.rstrip("/").rsplit("/", 1)[-1]
                if name == "debian" and packages is None:
                    packages = uri.rstrip("/")
                elif name == "debian-security" and security is None:
                    security = uri.rstrip("/")
    standard = Mirror()
    return Mirror(packages or standard.packages, security or standard.security)


def _uris_of(line: str) -> list[str]:
    if match := _ONE_LINE.match(line):
        return [match["uri"]]
    if match := _URIS.match(line):
        return match["uris"].split()
    return []


def read_host_sources(folder: Path = Path("/etc/apt")) -> tuple[str, ...]:
    """The texts of apt's source files on this host, in the order apt reads them."""
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    return tuple(
        file.read_text(errors="replace")
        for file in files
        if file.is_file() and file.suffix in {".list", ".sources"}
    )
