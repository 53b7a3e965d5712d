"""A plan of fits and cells, the executors that place them, and the store that keeps what they leave."""
