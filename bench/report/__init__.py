"""Tables, plots and pages from what a store holds. Never imports torch."""
