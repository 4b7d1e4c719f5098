"""Row 20: whatever people write and nodes answer, it is understood or refused, and nothing is touched by mistake."""
