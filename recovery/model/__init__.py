"""Values only: frozen, comparable, without devices, processes or clocks."""
