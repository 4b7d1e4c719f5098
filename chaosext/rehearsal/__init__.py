"""Prediction from values alone: no code here accesses a node or a cluster."""
