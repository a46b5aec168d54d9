"""The API server: messages, AK/SK signatures and IAM tokens."""
