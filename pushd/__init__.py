"""pushd: a real-time push service for apps whose users own their keys."""

__version__ = "0.1.0"
