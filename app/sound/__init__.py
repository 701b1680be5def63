"""Everything that sounds: the scheduler, the player, and the ports it feeds."""
