"""The interface of a strategy and the protocols around it. No implementation."""
