"""What tests share: cases, files that are written for a test, runs of the tools."""
