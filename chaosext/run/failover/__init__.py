"""Failing over at the entry in front of several clusters: draining one, asking what customers get, taking it back."""
