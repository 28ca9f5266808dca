"""What `make bench` can measure, a module for each section: every one takes the workbench and leaves results there."""
