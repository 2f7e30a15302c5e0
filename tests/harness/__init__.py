"""What tests of several packages share: servers, stores, and processes that are killed or race."""
