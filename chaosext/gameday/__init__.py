"""Game days from inside a cluster: the settings, the manifests made of them, and what the Job does."""
