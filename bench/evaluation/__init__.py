"""From rankings to figures: measures, significance, forgetting, cost. Used alike for every strategy."""
