"""The benchmark harness: it uses the public interface only, and nothing imports it."""
