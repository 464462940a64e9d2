"""The tar format: members, a streaming reader of every dialect in use, and a writer of one canonical form."""
