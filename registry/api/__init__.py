"""HTTP of the registry: discovery and downloads for hosts, files, and releases for operators and customers."""
