"""What is measured: one evaluator per task type."""
