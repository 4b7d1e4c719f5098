"""Row 15: each small change of the code that arms, undoes, verifies and judges is noticed by a test, or by mypy."""
