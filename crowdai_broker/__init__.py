"""The broker of a machine-learning challenge platform, on Twisted and Autobahn."""
