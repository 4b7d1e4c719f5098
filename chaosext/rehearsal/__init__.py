"""Prediction from values alone: nothing here reaches a node or a cluster."""
