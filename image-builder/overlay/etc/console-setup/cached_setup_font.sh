#!/bin/sh
# Run by udev whenever a console driver takes over, since each starts with a font of its own.
for console in /dev/tty[1-6]; do
    setfont -C "$console" /usr/share/consolefonts/recovery.psf.gz
    setvtrgb -C "$console" /etc/vtrgb
done 2>/dev/null
mkdir -p /run/console-setup
: >/run/console-setup/font-loaded
