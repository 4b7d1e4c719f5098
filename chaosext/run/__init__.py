"""The strict run.

`reading`: what an experiment says. `cutting`: the fault and its undo. `watch`: what happens meanwhile, and whether it
has settled. `judging`: from what was left behind to the verdict. The modules here drive the four.
"""
