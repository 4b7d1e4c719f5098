"""Row 9: whatever a context leads to but the pinned cluster, nothing is changed there."""
