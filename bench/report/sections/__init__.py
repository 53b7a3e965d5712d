"""The sections of a report, one file each; `bench.report.build` puts them in order."""
