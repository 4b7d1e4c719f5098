"""The pre-cutover gate: a plan and a cluster in, go or no-go out, with reasons and the patches that would mend it."""
