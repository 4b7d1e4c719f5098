"""Game days from inside a cluster: the settings, their manifests, and the command of the Job."""
