"""The exchange's side of the conversation, pure as well."""
