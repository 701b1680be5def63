"""The 774-event vocabulary, its codec and grammar, and the bars of notes the VAE reads. Free of torch."""
