"""The oracle: a real control plane plays scenarios that the rehearsal predicts, and the two are compared."""
