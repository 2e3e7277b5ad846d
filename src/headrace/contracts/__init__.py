"""What data may look like: models, SQL types, validation of rows."""
