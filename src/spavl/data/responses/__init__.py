"""Every responder of the pool answers every question."""
