"""The painted layers of the roll, back to front: grid, notes (or their density when far out), overlay."""
