"""From disks to a snapshot."""
