"""Pictures of stamps and of what models make of them."""
