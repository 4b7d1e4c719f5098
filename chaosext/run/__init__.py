"""The strict run.

`session`: identity, directory, connection, approval. `agents`: chaosext's Pods on nodes. `fault`: the cut and its undo.
`monitor`: what happens meanwhile. `rollback`, `stop`, `verdict`. The modules here drive them.
"""
