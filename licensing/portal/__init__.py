"""The portal's pages about what a customer has, and the operator's pages. Templates and assets of all apps lie here."""
