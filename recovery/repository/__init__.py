"""Where snapshots and chunks live, with its keys."""
