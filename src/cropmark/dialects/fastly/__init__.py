"""Fastly's Image Optimizer: query and headers → Order, outcome → its headers, Problem → its words."""
