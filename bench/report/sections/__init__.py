"""The sections of a report, one file per section. `bench.report.build` puts them in order."""
