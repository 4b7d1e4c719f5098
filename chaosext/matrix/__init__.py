"""The matrix of architectures: each predicted, played on a testbed, compared, and kept."""
