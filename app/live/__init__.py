"""Playing live: what comes in through MIDI, and what it does. `app.live.live` joins the parts."""
