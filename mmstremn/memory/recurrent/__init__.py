"""Recurrent cells and the memories that are made of them."""
