"""From a configuration to fits, studies and cells."""
