"""The verbs: what they are given is made ready, solved, recorded, kept and handed back."""
