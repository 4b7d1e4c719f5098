"""The knowledge base: one rule a module, each with a `RULE` (see `chaosext.diagnose.knowledge`)."""
