"""The tar format: a member, a streaming reader of every dialect in use, a writer of one canonical form."""
