#!/bin/sh
# Run by udev for each new virtual console, `vcs` and its number.
setfont -C "/dev/tty${1#vcs}" /usr/share/consolefonts/recovery.psf.gz
