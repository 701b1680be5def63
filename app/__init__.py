"""The studio and the command line: everything that touches Qt, MIDI ports, audio or the user."""
