"""The piano roll: a model (`state`), painted layers over sorted arrays, one small file per mouse gesture."""
