"""Training objectives: which examples, and which loss on their scores."""
