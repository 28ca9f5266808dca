"""The pages about releases: what a customer may download, and what operators publish, withdraw and roll back."""
