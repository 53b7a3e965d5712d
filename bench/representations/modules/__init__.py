"""What representations add to a model: heads, tables, second towers. A module here is no representation itself."""
