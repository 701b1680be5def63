"""The panels around the roll. Each shows a model object and reports wishes; none owns the song."""
