"""The studies of the library, each in a folder of its own: see README.md. They are not installed."""
