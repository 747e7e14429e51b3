"""From a snapshot to disks."""
