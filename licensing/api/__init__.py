"""HTTP of `licensing`. A view parses, authorises, calls one service and serialises; it never decides."""
