"""Language models that read: they answer a question from passages, and score a given answer."""
