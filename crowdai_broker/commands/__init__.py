"""The commands of ``crowdai-broker``, one a file."""
