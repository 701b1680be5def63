"""Music and model. Knows nothing of windows, devices for sound, or threads."""
