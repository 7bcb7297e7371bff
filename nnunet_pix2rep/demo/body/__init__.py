"""The synthetic body that the demo is about: a heart and what lies around it."""
