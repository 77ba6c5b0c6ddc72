"""The benchmark harness. It uses the public interface only, and nothing imports it."""
