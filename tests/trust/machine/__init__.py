"""Row 10: whatever is done in whatever order, the kernel holds exactly what a small model says."""
