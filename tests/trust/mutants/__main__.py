"""`python -m tests.trust.mutants [SOURCE…]`: what survives without an argument, as `survivors.toml` wants it."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.trust.mutants.mutmut import mutants
from tests.trust.mutants.scope import SCOPES, Scope
from tests.trust.mutants.survivors import argued, key_of
from tests.trust.row import Effort

whole = SCOPES[Effort.FULL]
scope = Scope(sources=tuple(sys.argv[1:]) or whole.sources, tests=whole.tests)
with tempfile.TemporaryDirectory() as folder:
    tried = mutants(scope, Path(folder), children=os.cpu_count() or 1, limit_s=3600)
alive = Counter(key_of(mutant) for mutant in tried if not mutant.noticed) - argued()
for key in alive.elements():
    print("[[survivor]]")
    for name, text in zip(("function", "was", "becomes", "why"), (*key, ""), strict=True):
        print(f"{name} = {json.dumps(text, ensure_ascii=False)}")
    print()
print(f"# {len(tried)} tried, {alive.total()} survive without an argument")
