"""Base models: finding and loading them, their architectures, precision, devices and endpoints."""
