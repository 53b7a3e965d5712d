"""How texts are represented and compared."""
