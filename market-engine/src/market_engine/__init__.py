"""The market that the desk trades on: feeds, their health, analytics, storage, an API."""
