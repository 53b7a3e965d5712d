"""Base models: finding and loading them, their architectures, precision and device."""
